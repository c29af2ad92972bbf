import type { Command } from 'commander'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { formatKiB, parseKiB } from '../units.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Give the guest more or less of its memory, by its balloon.')
    .argument('<domain>', 'name or uuid')
    .argument('<size>', 'how much: 512MiB, 2GiB; a bare number counts KiB, as in virsh')
  addAffectFlags(command).action(async (domain: string, text: string, flags: AffectFlags) => {
    const memoryKiB = parseKiB(text, 'The memory')
    await changeDomain(context, domain, {
      doing: 'Setting the memory of',
      flags,
      async run({ connection, call }) {
        await connection.domains.setMemory(domain, { ...call, memoryKiB })
        return `is to have ${formatKiB(memoryKiB)}`
      },
    })
  })
  addExamples(command, [
    ['visor setmem web 512MiB', 'now, as fast as the guest can'],
    ['visor setmem web 512MiB --live --config', 'and at the next start'],
  ])
}
