import type { Command } from 'commander'
import { type Domain, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { forgetHostKeys } from '../into-guest/known-hosts.ts'
import { runSsh, sshName, sshOptions } from '../into-guest/ssh-client.ts'
import { findSsh, runningMachine, type SshTarget } from '../into-guest/ssh-target.ts'
import { safe } from '../page.ts'
import { withProgress } from '../progress.ts'
import { parseDuration } from '../units.ts'

interface SshFlags {
  readonly identity?: string
  readonly timeout: string
  readonly newKey?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      "Log in to a machine with this host's ssh, wherever it is: its address is looked up, and waited for while it boots.",
    )
    .argument('<domain>', 'name or uuid, with USER@ in front for another user than ssh would take')
    .argument('[command...]', 'run this instead of a shell, as ssh does; put -- in front when it has dashes')
    .option('-i, --identity <file>', 'private key to log in with')
    .option('-t, --timeout <time>', 'wait at most so long for it to take connections: 90, 5m', '2m')
    .option('--new-key', 'forget the host key that is known of it, and believe the one it has now')
    .action((domain: string, words: string[], flags: SshFlags) => logIn(context, domain, words, flags))
  addExamples(command, [
    ['visor ssh debian@web', 'a shell in it'],
    ['visor ssh debian@web -- uptime', 'one command, and its exit code'],
    ['visor ssh web', "the user is that of 'Host web' in ~/.ssh/config, else yours"],
  ])
}

async function logIn(
  context: Context,
  domain: string,
  words: readonly string[],
  flags: SshFlags,
): Promise<void> {
  const at = domain.lastIndexOf('@')
  const user = at < 0 ? undefined : domain.slice(0, at)
  if (user === '') throw new VisorError('invalid-argument', `There is no user in '${domain}'.`)
  await context.connected(async (connection) => {
    const machine = await runningMachine(connection, domain.slice(at + 1))
    const timeoutMs = parseDuration(flags.timeout, 'The timeout')
    const { output, signal } = context
    const target = await withProgress(output, `Waiting for ${machine.name}`, signal, ({ progress }) =>
      findSsh(connection, machine, { timeoutMs, signal, onWait: (phase) => progress({ phase }) }),
    )
    if (typeof target === 'string') throw tooLate(machine, target)
    if (flags.newKey) await forgetHostKeys(context, machine.uuid)
    context.failWith(await runShell(context, target, words, { user, identity: flags.identity }))
  })
}

async function runShell(
  context: Context,
  target: SshTarget,
  words: readonly string[],
  { user, identity }: { readonly user: string | undefined; readonly identity: string | undefined },
): Promise<number> {
  const args = [
    ...(await sshOptions(context, target, { quiet: words.length > 0, identity })),
    ...(user === undefined ? [] : ['-l', user]),
    ...['--', sshName(target)],
    ...words,
  ]
  return (await runSsh(context, 'ssh', args, target, { stdin: 'inherit' })).code
}

const tooLate = ({ name }: Domain, why: string) =>
  new VisorError('timeout', `'${name}' takes no ssh: ${safe(why)}`, {
    remedy: `Wait longer (--timeout), see what it prints ('visor console ${name} --log'), or run programs by its agent: 'visor exec ${name}'.`,
    object: { kind: 'domain', name },
  })
