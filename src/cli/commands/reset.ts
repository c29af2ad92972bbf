import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Press the reset button: the machine boots anew, and its guest is not asked.')
    .argument('<domains...>', 'names or uuids')
    .action(async (domains: string[]) => {
      await eachDomain(context, domains, {
        doing: 'Resetting',
        done: 'was reset',
        run: ({ connection, name, call }) => connection.domains.reset(name, call),
      })
    })
  addExamples(command, [['visor reset web', 'when the guest hangs']])
}
