import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Drop the saved state that visor keeps of machines: their next start boots anew.')
    .argument('<domains...>', 'names or uuids')
    .action(async (domains: string[]) => {
      await eachDomain(context, domains, {
        doing: 'Discarding',
        done: 'boots anew at its next start',
        run: ({ connection, name, call }) => connection.domains.discardSaved(name, call),
      })
    })
  addExamples(command, [['visor discard-saved web', 'what it did is gone']])
}
