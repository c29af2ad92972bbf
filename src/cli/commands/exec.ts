import type { Command } from 'commander'
import type { CompleteConnection } from '../../driver/index.ts'
import { type GuestProgram, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { checkVia } from '../into-guest/check-via.ts'
import { printProgram } from '../into-guest/print-program.ts'
import { quoteLine } from '../into-guest/quote.ts'
import { runSsh, sshName, sshOptions } from '../into-guest/ssh-client.ts'
import type { SshTarget } from '../into-guest/ssh-target.ts'
import { findWay } from '../into-guest/ways.ts'
import { readStandardInput } from '../standard-input.ts'
import { parseDuration } from '../units.ts'

/** The agent takes the whole input at once, in one request. */
const mostInput = 700 * 1024

interface ExecFlags {
  readonly stdin?: true
  readonly env?: string[]
  readonly user?: string
  readonly identity?: string
  readonly timeout?: string
  readonly via?: 'agent' | 'ssh'
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Run a program in a machine: by its guest agent where that answers, else over ssh. Its output and exit code are those of the program.',
    )
    .argument('<domain>', 'name or uuid')
    .argument('<program>', 'path, or a name in the PATH of the guest')
    .argument('[args...]', 'its arguments; put -- in front of the program when they have dashes')
    .option('-i, --stdin', 'hand on what comes on the standard input')
    .option('-e, --env <pair...>', 'environment: NAME=value')
    .option('-u, --user <name>', 'user of the guest; root with the agent, as ssh has it else')
    .option('-t, --timeout <time>', 'wait for it at most: 90, 5m')
    .option('--identity <file>', 'private key to log in with, where it goes over ssh')
    .option('--via <way>', 'only this way: agent or ssh', checkVia)
    .action((domain: string, program: string, args: string[], flags: ExecFlags) =>
      execute(context, domain, [program, ...args], flags),
    )
  addExamples(command, [
    ['visor exec web -- df -h', 'its output and exit code are those of the program'],
    ['visor exec web --user www-data -- id', 'as another user'],
    ['visor exec web -i -- sh -s < set-up.sh', 'a script of this host, run there'],
  ])
}

async function execute(context: Context, domain: string, line: readonly string[], flags: ExecFlags) {
  const timeoutMs = flags.timeout === undefined ? undefined : parseDuration(flags.timeout, 'The timeout')
  for (const pair of flags.env ?? [])
    if (!/^[A-Za-z_]\w*=/u.test(pair))
      throw new VisorError('invalid-argument', `'${pair}' is no variable.`, { remedy: 'Write NAME=value.' })
  await context.connected(async (connection) => {
    const way = await findWay(context, connection, domain, { commands: ['guest-exec'], via: flags.via })
    if (way.by === 'agent') {
      const ended = await byAgent(context, connection, way.machine.uuid, line, { ...flags, timeoutMs })
      printProgram(context, ended)
    } else await bySsh(context, way.target, line, { ...flags, timeoutMs })
  })
}

type Options = Omit<ExecFlags, 'timeout'> & { readonly timeoutMs: number | undefined }

async function byAgent(
  context: Context,
  { agent }: CompleteConnection,
  uuid: string,
  line: readonly string[],
  { stdin, env, user, timeoutMs }: Options,
): Promise<GuestProgram> {
  const input = stdin ? await readStandardInput() : undefined
  if (input && input.length > mostInput)
    throw new VisorError('invalid-argument', 'The agent takes at most 700 KiB of standard input.', {
      remedy: "Copy it into the guest first ('visor cp'), or use ssh: --via ssh.",
    })
  const [program = '', ...args] = asUser(line, user)
  return agent.exec(uuid, {
    ...{ program, args },
    ...(env && { env }),
    ...(input && { stdin: input.toString('base64') }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    signal: context.signal,
  })
}

/** The shell of su gets the words as they are, and does no more than become the program. */
function asUser(line: readonly string[], user: string | undefined): readonly string[] {
  if (user === undefined) return line
  if (user === '' || user.startsWith('-'))
    throw new VisorError('invalid-argument', `'${user}' is no name of a user.`)
  return ['su', '-s', '/bin/sh', '-c', 'exec "$0" "$@"', '--', user, ...line]
}

async function bySsh(
  context: Context,
  target: SshTarget,
  line: readonly string[],
  { stdin, env = [], user, identity, timeoutMs }: Options,
): Promise<void> {
  const words = env.length > 0 ? ['env', ...env, ...line] : line
  const capture = context.output.json
  const args = [
    ...(await sshOptions(context, target, { quiet: true, identity })),
    ...['-T', '-o', 'ClearAllForwardings=yes'],
    ...(user === undefined ? [] : ['-l', user]),
    ...['--', sshName(target), quoteLine(words)],
  ]
  const call = { stdin: stdin && ('inherit' as const), capture, timeoutMs }
  const { code, stdout, stderr, truncated } = await runSsh(context, 'ssh', args, target, call)
  if (!capture) return context.failWith(code)
  printProgram(context, {
    ...{ exitCode: code, truncated },
    ...{ stdout: stdout.toString('base64'), stderr: stderr.toString('base64') },
  })
}
