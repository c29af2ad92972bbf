import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Stop the processors. Memory stays; the guest notices nothing but the time.')
    .argument('<domains...>', 'names or uuids')
    .action(async (domains: string[]) => {
      await eachDomain(context, domains, {
        doing: 'Suspending',
        done: 'is paused',
        run: ({ connection, name, call }) => connection.domains.suspend(name, call),
      })
    })
  addExamples(command, [['visor suspend web', 'visor resume lets it go on']])
}
