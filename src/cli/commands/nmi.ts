import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Send machines a non-maskable interrupt, which makes a guest that hangs say why, if it is set up so.',
    )
    .argument('<domains...>', 'names or uuids')
    .action(async (domains: string[]) => {
      await eachDomain(context, domains, {
        doing: 'Interrupting',
        done: 'was interrupted',
        run: ({ connection, name, call }) => connection.domains.injectNmi(name, call),
      })
    })
  addExamples(command, [['visor nmi web', 'as by the button on a server']])
}
