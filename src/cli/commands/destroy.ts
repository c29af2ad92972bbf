import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Take the power away, at once. What the guest did not write to its disks is lost.')
    .argument('<domains...>', 'names or uuids')
    .option('--graceful', 'give the hypervisor a moment to write its caches first')
    .action(async (domains: string[], { graceful }: { graceful?: true }) => {
      await eachDomain(context, domains, {
        doing: 'Destroying',
        done: 'is off',
        run: ({ connection, name, call }) =>
          connection.domains.destroy(name, { ...call, ...(graceful && { graceful }) }),
      })
    })
  addExamples(command, [['visor destroy web', 'its definition and disks stay']])
}
