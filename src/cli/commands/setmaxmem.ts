import type { Command } from 'commander'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { formatKiB, parseKiB } from '../units.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Set the most memory a machine can have; of the next start alone.')
    .argument('<domain>', 'name or uuid')
    .argument('<size>', 'the most: 512MiB, 2GiB; a bare number counts KiB, as in virsh')
  addAffectFlags(command).action(async (domain: string, text: string, flags: AffectFlags) => {
    const memoryKiB = parseKiB(text, 'The memory')
    await changeDomain(context, domain, {
      doing: 'Setting the memory of',
      flags,
      async run({ connection, call }) {
        await connection.domains.setMemory(domain, { ...call, maximum: true, memoryKiB })
        return `can have ${formatKiB(memoryKiB)}`
      },
    })
  })
  addExamples(command, [['visor setmaxmem web 2GiB --config', 'at the next start']])
}
