import { Command, CommanderError } from 'commander'
import { VisorError } from '../model/index.ts'
import { virshRemedy } from './aliases.ts'
import { type CommandEntry, commands } from './commands.ts'
import { type Context, createContext, type GlobalOptions } from './context.ts'
import { formatOverview, helpTopic, styleHelp } from './help.ts'
import { type Output, openOutput } from './output.ts'
import { reportError } from './report-error.ts'
import { version } from './version.ts'

/** Runs the command at `position` of the arguments; only its file is loaded. Resolves to the exit code. */
export async function runProgram(
  args: readonly string[],
  position: number,
  signal: AbortSignal,
): Promise<number> {
  const output = openOutput(scanOutputFlags(args))
  try {
    const [wanted, words] = rewriteHelp(args, position)
    if (words === undefined) {
      output.write(helpTopic(wanted, output.colours))
      return 0
    }
    if (wanted === '' && !words.some((word) => word.startsWith('-'))) {
      output.write(formatOverview(commands, output))
      return 0
    }
    return await execute(wanted, words, output, signal)
  } catch (error) {
    return reportError(error, output)
  }
}

async function execute(wanted: string, words: readonly string[], output: Output, signal: AbortSignal) {
  let exitCode = 0
  const program = createProgram(output)
  const context = createContext(
    () => program.opts<GlobalOptions>(),
    signal,
    (code) => {
      exitCode ||= code
    },
  )
  await addCommands(program, context, (entry) => entry.name === wanted)
  try {
    await program.parseAsync(words, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    throw error instanceof CommanderError ? usageError(error, wanted) : error
  }
}

/** The program with its global flags and no command yet. */
export function createProgram(output: Output): Command {
  const program = new Command('visor')
  program
    .description('Runs and manages virtual machines and containers of a host.')
    .usage('[flags] COMMAND ...')
    .option(
      '-c, --connect <uri>',
      'what to talk to: http://HOST:PORT, unix:///SOCKET, or a driver: qemu:///system',
    )
    .option('--token <token>', 'login token for an http address')
    .option('--json', 'results as JSON, for programs')
    .option('-q, --quiet', 'names only, and no words about the work')
    .option('--no-color', 'no colours; so does the environment variable NO_COLOR')
    .option('--state-dir <dir>', 'where visor keeps what survives a power cut (VISOR_STATE_DIR)')
    .option('--runtime-dir <dir>', "where the daemon's sockets are (VISOR_RUNTIME_DIR)")
    .version(version, '-V, --version', 'show the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ writeOut: (text) => output.write(text), writeErr: () => {}, outputError: () => {} })
  styleHelp(program, output)
  return program
}

/** Adds all commands: those that `load` picks in full, the others by name, for help and suggestions. */
export async function addCommands(
  program: Command,
  context: Context,
  load: (entry: CommandEntry) => boolean,
): Promise<void> {
  for (const entry of commands) {
    const command = program.command(entry.name, { hidden: entry.hidden ?? false })
    command.summary(entry.summary).description(`${entry.summary}.`).helpGroup(entry.group).helpCommand(false)
    if (load(entry)) (await entry.load()).configure(command, context)
  }
}

/** Before anything is parsed, so that errors about the arguments already follow the flags. */
function scanOutputFlags(args: readonly string[]) {
  const end = args.indexOf('--')
  const flags = end < 0 ? args : args.slice(0, end)
  return {
    json: flags.includes('--json'),
    quiet: flags.includes('--quiet') || flags.includes('-q'),
    ...(flags.includes('--no-color') && { color: false }),
  }
}

/** `visor help start` is `visor start --help`; `visor help exit-codes` is a page of its own. */
function rewriteHelp(args: readonly string[], position: number): [string, readonly string[] | undefined] {
  const wanted = args[position] ?? ''
  if (wanted !== 'help') return [wanted, args]
  const [topic = '', ...more] = args.slice(position + 1).filter((word) => !word.startsWith('-'))
  if (topic === 'exit-codes' || topic === 'connect') return [topic, undefined]
  return topic === '' ? ['', ['--help']] : [topic, [topic, ...more, '--help']]
}

/** Commander's word about the arguments as an error of ours. */
function usageError(error: CommanderError, command: string): VisorError {
  const [first = '', ...rest] = error.message.replace(/^error: /u, '').split('\n')
  const suggestion = /\(Did you mean (.*)\?\)/u.exec(rest.join(' '))?.[1]
  const unknown = error.code === 'commander.unknownCommand'
  const remedy =
    (unknown && virshRemedy(command)) ||
    (suggestion &&
      `Did you mean '${suggestion
        .replace(/^one of /u, '')
        .split(', ')
        .join("' or '")}'?`) ||
    (unknown || command === '' ? "See 'visor help'." : `See 'visor help ${command}'.`)
  const sentence = `${first.charAt(0).toUpperCase()}${first.slice(1)}`
  return new VisorError('invalid-argument', sentence.endsWith('.') ? sentence : `${sentence}.`, { remedy })
}
