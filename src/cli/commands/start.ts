import type { Command } from 'commander'
import { attachConsole } from '../attach-console.ts'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'

interface StartFlags {
  readonly paused?: true
  readonly discardSaved?: true
  readonly console?: true
}

export function configure(command: Command, context: Context): void {
  command
    .argument('<domains...>', 'names or uuids')
    .option('--paused', 'leave the processors stopped; visor resume lets them go')
    .option('--discard-saved', 'boot anew though a saved state waits, and drop that state')
    .option('--console', 'go on to the serial console')
    .action(async (domains: string[], flags: StartFlags) => {
      const { paused, discardSaved } = flags
      await eachDomain(context, domains, {
        doing: 'Starting',
        done: paused ? 'started, paused' : 'started',
        run: ({ connection, name, call }) =>
          connection.domains.start(name, {
            ...call,
            ...(paused && { paused }),
            ...(discardSaved && { discardSaved }),
          }),
      })
      const [first] = domains
      if (flags.console && first !== undefined) await attachConsole(context, first)
    })
  addExamples(command, [
    ['visor start web', 'boot it, or go on from where save left it'],
    ['visor start web --console', 'and see it boot'],
  ])
}
