/** The visord of a first run: a process of its own, ended by whoever started it. */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  identifyProcess,
  isRunning,
  type Presence,
  type ProcessIdentity,
  readPresence,
  signalProcess,
  waitForExit,
} from '../host/index.ts'
import { VisorError } from '../model/index.ts'
import { type Place, packageRoot } from './place.ts'

export interface Visord {
  readonly presence: Presence
  /** Resolves when it is gone, for whatever reason. */
  readonly ended: Promise<void>
  /** Stops it in good order. */
  stop(): Promise<void>
}

/** As we run: from the build, or from the sources. */
const program = join(
  packageRoot,
  import.meta.filename.endsWith('.ts') ? 'src/daemon/main.ts' : 'bin/visord.js',
)

const readyMs = 30_000
const stopMs = 30_000
const pollMs = 10

/**
 * Starts visord in the place and resolves when it is ready. One that an earlier first run left behind when it
 * was killed is stopped first. Fails with `busy` when another first run is there, and with `unavailable` and
 * what visord said last when it ends before it is ready.
 */
export async function startVisord(place: Place, flags: readonly string[]): Promise<Visord> {
  const { state, runtime, config } = place.directories
  await claim(runtime)
  mkdirSync(state, { recursive: true, mode: 0o700 })
  const log = openSync(place.logFile, 'a', 0o600)
  const options = ['--state-dir', state, '--runtime-dir', runtime, '--log-format', 'json', ...flags]
  // A session of its own: Ctrl-C in the terminal is for us, and we stop it when its guest is off.
  const child = spawn(process.execPath, [program, ...options], {
    detached: true,
    stdio: ['ignore', 'ignore', log],
    env: { ...process.env, VISOR_CONFIG: undefined, ...configOf(config) },
  })
  closeSync(log)
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const identity = child.pid === undefined ? undefined : identifyProcess(child.pid)
  if (!identity) throw await failed(place, ended)
  const stop = () => stopProcess(identity)
  const presence = await waitUntilReady(runtime, identity).catch(async (error: unknown) => {
    await stop()
    throw error
  })
  if (!presence) throw await failed(place, ended)
  return { presence, ended, stop }
}

/** A configuration in the place counts; there need not be one. */
function configOf(file: string): Record<string, string> {
  try {
    readFileSync(file)
    return { VISOR_CONFIG: file }
  } catch {
    return { VISOR_CONFIG: '/dev/null' }
  }
}

/** Fails when another first run is there, and ends the visord of one that is not any more. */
async function claim(runtime: string): Promise<void> {
  const file = join(runtime, 'first-run.json')
  const owner = readJson(file) as ProcessIdentity | undefined
  const there = readPresence(runtime)
  if (owner && isRunning(owner)) throw second(`npm start, as process ${owner.pid},`, owner.pid)
  if (there && isRunning(there)) {
    if (!owner) throw second(`A visord, process ${there.pid},`, there.pid)
    await stopProcess(there)
  }
  mkdirSync(runtime, { recursive: true, mode: 0o700 })
  writeFileSync(file, JSON.stringify(identifyProcess(process.pid)), { mode: 0o600 })
}

function second(who: string, pid: number): VisorError {
  return new VisorError('busy', `${who} runs here already.`, {
    remedy: `Press Ctrl-C where it was started, end it with 'kill ${pid}', or choose other directories.`,
  })
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

async function waitUntilReady(runtime: string, identity: ProcessIdentity): Promise<Presence | undefined> {
  const deadline = performance.now() + readyMs
  while (identifyProcess(identity.pid)) {
    const presence = readPresence(runtime)
    if (presence?.pid === identity.pid) return presence
    if (performance.now() > deadline)
      throw new VisorError('timeout', `visord was not ready within ${readyMs / 1000} s.`)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
  return undefined
}

async function stopProcess(identity: ProcessIdentity): Promise<void> {
  signalProcess(identity, 'SIGTERM')
  if (!(await waitForExit(identity, stopMs))) signalProcess(identity, 'SIGKILL')
}

async function failed({ logFile }: Place, ended: Promise<void>): Promise<VisorError> {
  await ended
  const lines = readFileSync(logFile, 'utf8').trimEnd().split('\n')
  const said = lines.at(-1) ?? ''
  return new VisorError('unavailable', `visord ended before it was ready: ${messageOf(said)}`, {
    remedy: `Its log is ${logFile}.`,
  })
}

/** The message of a line of the log, or the line where it is none. */
function messageOf(line: string): string {
  try {
    return String((JSON.parse(line) as { msg?: unknown }).msg)
  } catch {
    return line
  }
}
