import type { Command } from 'commander'
import { dropQueries } from '../../host/index.ts'
import { attachConsole } from '../attach-console.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { parseSize } from '../units.ts'

interface ConsoleFlags {
  readonly log?: true
  readonly tail?: string
  readonly device?: string
  readonly scrollback: boolean
  readonly force?: true
  readonly follow?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description('Use the serial console of a machine: what it printed before comes first. Ctrl-] leaves.')
    .argument('<domain>', 'name or uuid')
    .option('--log', 'only print what the console printed, as far as it is kept')
    .option('--tail <size>', 'with --log: at most the last so much: 4KiB')
    .option('--device <alias>', 'which port or console; the first one without')
    .option('--no-scrollback', 'without what it printed before')
    .option('--force', 'disconnect a viewer that holds it alone')
    .option('--follow', 'with piped input: stay after its end, until the machine is off')
    .action((domain: string, flags: ConsoleFlags) => useConsole(context, domain, flags))
  addExamples(command, [
    ['visor console web', 'type to the guest; Ctrl-] leaves, the machine goes on'],
    ['visor console web --log | tail', 'what it said last, running or not'],
    ["printf 'uptime\\n' | visor console web --no-scrollback", 'type a line, print the answer'],
  ])
}

async function useConsole(context: Context, domain: string, flags: ConsoleFlags): Promise<void> {
  const device = flags.device === undefined ? {} : { device: flags.device }
  if (!flags.log) {
    const { scrollback, force = false, follow = false } = flags
    return attachConsole(context, domain, { ...device, scrollback, force, follow })
  }
  const maxBytes = flags.tail === undefined ? {} : { maxBytes: parseSize(flags.tail, 'The tail') }
  const bytes = await context.connected((connection) =>
    connection.domains.consoleLog(domain, { ...device, ...maxBytes }),
  )
  const { output } = context
  if (output.json) output.print({ text: Buffer.from(bytes).toString('utf8') }, () => '')
  // A terminal would answer them to the shell.
  else output.write(dropQueries()(bytes))
}
