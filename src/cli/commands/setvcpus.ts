import type { Command } from 'commander'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { parseCount } from '../units.ts'

interface Flags extends AffectFlags {
  readonly maximum?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description('Set the number of processors of a machine, also while it runs.')
    .argument('<domain>', 'name or uuid')
    .argument('<count>', 'how many')
    .option('--maximum', 'the most there can be; of the next start alone')
  addAffectFlags(command).action(async (domain: string, text: string, flags: Flags) => {
    const count = parseCount(text, 'The number of processors', 1, 4096)
    const words = `${count} processor${count === 1 ? '' : 's'}`
    await changeDomain(context, domain, {
      doing: 'Setting the processors of',
      flags,
      async run({ connection, call }) {
        const options = { ...call, count, ...(flags.maximum && { maximum: true }) }
        await connection.domains.setVcpus(domain, options)
        return flags.maximum ? `can have ${words}` : `has ${words}`
      },
    })
  })
  addExamples(command, [
    ['visor setvcpus web 4 --maximum --config', 'room for four at the next start'],
    ['visor setvcpus web 2', 'now; Linux guests without udev switch them on by hand'],
  ])
}
