import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'

interface RestoreFlags {
  readonly file?: string
  readonly paused?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description('Go on from a saved state.')
    .argument('<domains...>', 'names or uuids')
    .option('--file <file>', "where from, on the daemon's host; what visor kept itself without")
    .option('--paused', 'leave the processors stopped')
    .action(async (domains: string[], { file, paused }: RestoreFlags) => {
      await eachDomain(context, domains, {
        doing: 'Restoring',
        done: paused ? 'is back, paused' : 'is back',
        run: ({ connection, name, call }) =>
          connection.domains.restore(name, {
            ...call,
            ...(file !== undefined && { file: resolve(file) }),
            ...(paused && { paused }),
          }),
      })
    })
  addExamples(command, [
    ['visor restore web --paused', 'its memory is back, its processors wait for visor resume'],
  ])
}
