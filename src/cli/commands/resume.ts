import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Let the processors of a suspended machine go on.')
    .argument('<domains...>', 'names or uuids')
    .action(async (domains: string[]) => {
      await eachDomain(context, domains, {
        doing: 'Resuming',
        done: 'runs',
        run: ({ connection, name, call }) => connection.domains.resume(name, call),
      })
    })
  addExamples(command, [['visor resume web', 'goes on where suspend stopped it']])
}
