import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Start machines with the daemon, or no longer.')
    .argument('<domains...>', 'names or uuids')
    .option('--disable', 'no longer')
    .option('--off', 'the same')
    .action(async (domains: string[], flags: { disable?: true; off?: true }) => {
      const enabled = !flags.disable && !flags.off
      await eachDomain(context, domains, {
        doing: 'Setting autostart of',
        done: enabled ? 'starts with the daemon' : 'no longer starts with the daemon',
        run: ({ connection, name, call }) => connection.domains.setAutostart(name, { ...call, enabled }),
      })
    })
  addExamples(command, [
    ['visor autostart web', 'when the host boots, it boots'],
    ['visor autostart web --off', 'no longer'],
  ])
}
