/** The host's own ssh and scp, told where a machine is and whose key it has to have. */
import { spawn } from 'node:child_process'
import { VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { keyChanged, knownHostsOf } from './known-hosts.ts'
import type { SshTarget } from './ssh-target.ts'

/** What ssh itself ends with; also what a program in the guest may end with. */
const sshFailed = 255
/** As much of what a program prints as the agent keeps of it. */
const mostKept = 16 * 1024 * 1024
const keptOfErrors = 65_536

export interface SshCall {
  /** Handed to the program in the guest; nothing without it. */
  readonly stdin?: 'inherit' | undefined
  /** Keeps what is printed instead of printing it. */
  readonly capture?: boolean | undefined
  readonly timeoutMs?: number | undefined
}

export interface SshEnd {
  readonly code: number
  readonly stdout: Buffer
  readonly stderr: Buffer
  readonly truncated: boolean
}

/**
 * Options of ssh(1), sftp and scp for a machine. The destination that follows is the machine's name, so that what the
 * user's own configuration says of a host of that name (user, identity) counts. Its key is kept by its uuid: the first
 * is believed, another one later is refused without a question.
 */
export async function sshOptions(
  context: Context,
  { machine, address, port }: SshTarget,
  { quiet, identity }: { readonly quiet: boolean; readonly identity: string | undefined },
): Promise<string[]> {
  const knownHosts = await knownHostsOf(context, machine.uuid)
  const options = {
    HostName: address.replaceAll('%', '%%'),
    Port: String(port),
    HostKeyAlias: `visor-${machine.uuid}`,
    UserKnownHostsFile: `"${knownHosts.replaceAll('%', '%%')}"`,
    StrictHostKeyChecking: 'accept-new',
    CheckHostIP: 'no',
    // A connection that is kept open goes by the address, at which another machine may be by now.
    ControlMaster: 'no',
    ControlPath: 'none',
    ...(quiet && { LogLevel: 'ERROR' }),
  }
  return [
    ...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    ...(identity === undefined ? [] : ['-i', identity]),
  ]
}

/** The name that ssh is given: it takes no spaces, and nothing that begins with a dash. */
export const sshName = ({ machine: { name, uuid } }: SshTarget): string =>
  /^[A-Za-z0-9][\w.-]*$/u.test(name) ? name : uuid

/**
 * Runs ssh or scp to its end. Fails with `unavailable` when it is not installed, `conflict` when the machine has another
 * host key than before, `timeout` and `cancelled`.
 */
export async function runSsh(
  context: Context,
  program: 'ssh' | 'scp',
  args: readonly string[],
  { machine }: SshTarget,
  { stdin, capture = false, timeoutMs }: SshCall = {},
): Promise<SshEnd> {
  const child = spawn(program, args, { stdio: [stdin ?? 'ignore', capture ? 'pipe' : 'inherit', 'pipe'] })
  const stdout = keep(mostKept)
  const stderr = keep(capture ? mostKept : keptOfErrors)
  child.stdout?.on('data', (chunk: Buffer) => stdout.add(chunk))
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr.add(chunk)
    if (!capture) process.stderr.write(chunk)
  })
  let why: 'cancelled' | 'timeout' | undefined
  const end = (reason: 'cancelled' | 'timeout') => {
    why ??= reason
    child.kill('SIGTERM')
  }
  const onAbort = () => end('cancelled')
  const timer = timeoutMs === undefined ? undefined : setTimeout(() => end('timeout'), timeoutMs)
  context.signal.addEventListener('abort', onAbort, { once: true })
  if (context.signal.aborted) onAbort()
  try {
    const code = await new Promise<number>((resolve, reject) => {
      child.once('error', (cause: NodeJS.ErrnoException) => reject(notThere(program, cause)))
      child.once('close', (exitCode) => resolve(exitCode ?? sshFailed))
    })
    if (why === 'cancelled') throw new VisorError('cancelled', 'Cancelled.')
    if (why === 'timeout')
      throw new VisorError('timeout', `'${machine.name}' did not come to an end within the time given.`, {
        remedy: 'What was begun in it may go on there. Give it longer with --timeout.',
      })
    if (code !== 0 && stderr.read().includes('REMOTE HOST IDENTIFICATION HAS CHANGED'))
      throw keyChanged(machine)
    return {
      code,
      stdout: stdout.read(),
      stderr: stderr.read(),
      truncated: stdout.isFull() || stderr.isFull(),
    }
  } finally {
    clearTimeout(timer)
    context.signal.removeEventListener('abort', onAbort)
  }
}

function notThere(program: string, cause: NodeJS.ErrnoException): VisorError {
  if (cause.code !== 'ENOENT')
    return new VisorError('failed', `'${program}' could not be run: ${cause.message}.`, { cause })
  return new VisorError('unavailable', `There is no program '${program}' on this host.`, {
    remedy: 'Install openssh-client.',
    cause,
  })
}

function keep(most: number) {
  const chunks: Buffer[] = []
  let length = 0
  let full = false
  return {
    add(chunk: Buffer) {
      const kept = chunk.subarray(0, most - length)
      full ||= kept.length < chunk.length
      length += kept.length
      if (kept.length > 0) chunks.push(kept)
    },
    read: () => Buffer.concat(chunks),
    isFull: () => full,
  }
}
