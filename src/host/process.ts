/**
 * Processes: short commands whose output is wanted, and guests that outlive the daemon.
 * Nothing here passes through a shell.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { VisorError } from '../model/index.ts'
import type { FileUser } from './posix-acl.ts'

/** A process beyond doubt: ids are reused, an id with its start time is not (proc(5), stat field 22). */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks after boot. */
  readonly startTime: string
}

/** Identity of a running process; undefined when there is none, or only a zombie of it. */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    // The name in parentheses may hold anything, so fields count from the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    // Its first thread may be a zombie while others still have its files open: field 20 counts them.
    const isZombie = fields[0] === 'Z' && Number(fields[17]) <= 1
    if (isZombie || fields[0] === 'X') return undefined
    return { pid, startTime: fields[19] ?? '' }
  } catch {
    return undefined
  }
}

/** Whether this very process still runs. */
export function isRunning({ pid, startTime }: ProcessIdentity): boolean {
  return identifyProcess(pid)?.startTime === startTime
}

/** Sends a signal to this very process, or to its group with `group`; false when it is gone. */
export function signalProcess(
  identity: ProcessIdentity,
  signal: NodeJS.Signals,
  { group = false }: { readonly group?: boolean } = {},
): boolean {
  if (!isRunning(identity)) return false
  try {
    process.kill(group ? -identity.pid : identity.pid, signal)
    return true
  } catch {
    return false
  }
}

/** Resolves when this very process is gone: true, or false after `timeoutMs`. For processes that are not our children. */
export async function waitForExit(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs
  for (let delay = 1; isRunning(identity); delay = Math.min(delay * 2, 50)) {
    if (performance.now() >= deadline) return false
    await new Promise((resolve) => setTimeout(resolve, delay))
  }
  return true
}

export interface RunOptions {
  readonly signal?: AbortSignal
  /** Given up and killed after this; 30 s without it. */
  readonly timeoutMs?: number
  /** More output than this is cut off, and the process killed; 16 MiB without it. */
  readonly maxBytes?: number
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Who runs it, with no further groups; who we are without it. */
  readonly user?: FileUser
  /** Told what it prints, as it prints it. */
  readonly onOutput?: (text: string) => void
  /** Told what it prints on its standard error, as it prints it. */
  readonly onErrorOutput?: (text: string) => void
  /** A program, with its arguments, that becomes this one: {@link endingWithUs}. */
  readonly through?: readonly string[]
  /** Bytes or an open file for its standard input; nothing without it. */
  readonly input?: Uint8Array | string | { readonly fd: number }
}

export interface RunResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a program to its end. Resolves whatever its exit code. Fails with `unavailable` when the program is
 * missing, `timeout`, `cancelled`, or `failed` when its output is too much; it and its children are then gone.
 */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const {
    signal,
    timeoutMs = 30_000,
    maxBytes = 16 * 2 ** 20,
    cwd,
    env,
    input,
    user,
    onOutput,
    onErrorOutput,
  } = options
  const [first = program, ...words] = [...(options.through ?? []), program, ...args]
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new VisorError('cancelled', `${program} was not started: cancelled.`))
    const fd = typeof input === 'object' && 'fd' in input ? input.fd : undefined
    const stdin = fd ?? (input === undefined ? 'ignore' : 'pipe')
    const child = spawn(first, words, {
      stdio: [stdin, 'pipe', 'pipe'],
      detached: true,
      cwd,
      env: env as NodeJS.ProcessEnv,
      ...(user ? { uid: user.uid, gid: user.gid } : {}),
    })
    const output: Buffer[][] = [[], []]
    let bytes = 0
    let failure: VisorError | undefined
    const stop = (error: VisorError) => {
      failure ??= error
      killGroup(child)
      // A grandchild may hold the pipes open; do not wait for it.
      for (const stream of [child.stdout, child.stderr]) stream?.destroy()
    }
    const onAbort = () => stop(new VisorError('cancelled', `${program} was cancelled.`))
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer = setTimeout(
      () => stop(new VisorError('timeout', `${program} did not end within ${timeoutMs / 1000} s.`)),
      timeoutMs,
    )
    const collect = (index: number) => (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > maxBytes) stop(new VisorError('failed', `${program} printed more than ${maxBytes} bytes.`))
      else output[index]?.push(chunk)
    }
    child.stdout?.on('data', collect(0))
    if (onOutput) child.stdout?.on('data', (chunk: Buffer) => onOutput(chunk.toString('utf8')))
    child.stderr?.on('data', collect(1))
    if (onErrorOutput) child.stderr?.on('data', (chunk: Buffer) => onErrorOutput(chunk.toString('utf8')))
    child.stdin?.on('error', () => {})
    if (input !== undefined && fd === undefined) child.stdin?.end(input)
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
    child.once('error', (cause: NodeJS.ErrnoException) => {
      settle()
      reject(
        cause.code === 'ENOENT'
          ? new VisorError('unavailable', `The program '${program}' is not installed.`, { cause })
          : new VisorError('failed', `${program} could not be started: ${cause.message}.`, { cause }),
      )
    })
    child.once('close', (code, killedBy) => {
      settle()
      if (failure) return reject(failure)
      const [stdout, stderr] = output.map((chunks) => Buffer.concat(chunks).toString('utf8'))
      resolve({ code: code ?? 128 + signalNumber(killedBy), stdout: stdout ?? '', stderr: stderr ?? '' })
    })
  })
}

/** As {@link run}, but an exit code other than 0 is `failed`, with what the program said last. */
export async function runChecked(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const result = await run(program, args, options)
  if (result.code === 0) return result
  const said = result.stderr.trim().split('\n').slice(-3).join(' ') || `exit code ${result.code}`
  throw new VisorError('failed', `${program} failed: ${said}`)
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
  } catch {
    child.kill('SIGKILL')
  }
}

function signalNumber(signal: NodeJS.Signals | null): number {
  return signal === 'SIGKILL'
    ? 9
    : signal === 'SIGTERM'
      ? 15
      : signal === 'SIGSEGV'
        ? 11
        : signal === 'SIGABRT'
          ? 6
          : 1
}
