import { resolve } from 'node:path'
import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Keep the running state of machines on disk and power them off. The next start goes on from there.',
    )
    .argument('<domains...>', 'names or uuids')
    .option('--file <file>', "where to, on the daemon's host; visor keeps it itself without")
    .action(async (domains: string[], { file }: { file?: string }) => {
      await eachDomain(context, domains, {
        doing: 'Saving',
        done: file === undefined ? 'is saved; visor start goes on from here' : `is saved in ${file}`,
        run: ({ connection, name, call }) =>
          connection.domains.save(name, { ...call, ...(file !== undefined && { file: resolve(file) }) }),
      })
    })
  addExamples(command, [
    ['visor save web', 'memory and devices to disk'],
    ['visor start web', 'and back to where it was'],
  ])
}
