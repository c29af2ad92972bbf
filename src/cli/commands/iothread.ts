import type { Command } from 'commander'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { parseCount } from '../units.ts'

interface Flags extends AffectFlags {
  readonly remove?: true
  readonly pollMaxNs?: string
  readonly pollGrow?: string
  readonly pollShrink?: string
  readonly threadPoolMin?: string
  readonly threadPoolMax?: string
}

export function configure(command: Command, context: Context): void {
  command
    .description('Add a thread that serves disks to a machine, change one that is there, or remove it.')
    .argument('<domain>', 'name or uuid')
    .argument('<id>', 'its number, from 1')
    .option('--remove', 'remove it')
    .option('--poll-max-ns <nanoseconds>', 'longest time it polls before it sleeps; 0 for never')
    .option('--poll-grow <factor>', 'by which polling grows')
    .option('--poll-shrink <divisor>', 'by which polling shrinks')
    .option('--thread-pool-min <count>', 'fewest worker threads beside it')
    .option('--thread-pool-max <count>', 'most worker threads beside it')
  addAffectFlags(command).action(async (domain: string, text: string, flags: Flags) => {
    const id = parseCount(text, 'The number of the thread', 1, 4095)
    const settings = {
      ...count('pollMaximumNs', flags.pollMaxNs, 0, 2 ** 40),
      ...count('pollGrow', flags.pollGrow, 0, 1024),
      ...count('pollShrink', flags.pollShrink, 0, 1024),
      ...count('minimumWorkers', flags.threadPoolMin, 0, 4096),
      ...count('maximumWorkers', flags.threadPoolMax, 1, 4096),
    }
    await changeDomain(context, domain, {
      doing: `${flags.remove ? 'Removing' : 'Setting'} I/O thread ${id} of`,
      flags,
      async run({ connection, call }) {
        const options = { ...call, ...settings, id, ...(flags.remove && { remove: true }) }
        await connection.domains.setIoThread(domain, options)
        return flags.remove ? `has no I/O thread ${id}` : `has I/O thread ${id}`
      },
    })
  })
  addExamples(command, [
    ['visor iothread web 2', 'a second one, now; disks that are attached later can be served by it'],
    ['visor iothread web 2 --poll-max-ns 0', 'one that never polls'],
    ['visor iothread web 2 --remove', 'when no disk is served by it any more'],
  ])
}

function count(key: string, text: string | undefined, min: number, max: number): Record<string, number> {
  return text === undefined ? {} : { [key]: parseCount(text, key, min, max) }
}
