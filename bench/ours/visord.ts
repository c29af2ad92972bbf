import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { connect as connectSocket } from 'node:net'
import { join } from 'node:path'
import { type CompleteConnection, connect } from '../../src/index.ts'
import type { Workbench } from '../harness.ts'
import { endChild } from '../processes.ts'

/** A visord of its own, as it is installed: built, with its own directories, on its unix socket alone. */
export interface Visord {
  readonly pid: number
  readonly socket: string
  /** Its REST client. */
  readonly connection: CompleteConnection
  /** Ends it before the bench does; what it knows stays. */
  stop(): Promise<void>
}

const program = join(import.meta.dirname, '../../bin/visord.js')

/** Starts visord with the QEMU driver and connects to it. */
export async function openVisord(bench: Workbench, name = 'visord'): Promise<Visord> {
  const directories = directoriesOf(bench, name)
  const { child, socket } = await startVisord(directories)
  bench.defer(() => endChild(child))
  const connection = await connect(`unix://${socket}`, { directories })
  bench.defer(() => connection.close())
  const stop = async () => {
    await connection.close()
    await endChild(child)
  }
  return { pid: child.pid ?? 0, socket, connection, stop }
}

export interface Places {
  readonly mode: 'system'
  readonly state: string
  readonly runtime: string
  readonly config: string
}

export function directoriesOf({ directory }: Workbench, name: string): Places {
  const at = (part: string) => join(directory, `${name}-${part}`)
  return { mode: 'system', state: at('state'), runtime: at('run'), config: at('visord.yaml') }
}

/** Spawns visord and resolves as soon as it answers that it is healthy. */
export async function startVisord({
  state,
  runtime,
}: Places): Promise<{ child: ChildProcess; socket: string }> {
  await mkdir(state, { recursive: true, mode: 0o700 })
  await mkdir(runtime, { recursive: true, mode: 0o755 })
  const socket = join(runtime, 'visord.sock')
  const args = [
    '--state-dir',
    state,
    '--runtime-dir',
    runtime,
    '--no-tcp',
    '--drivers',
    'qemu',
    '--log-level',
    'warn',
  ]
  const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
  const said: Buffer[] = []
  child.stderr?.on('data', (chunk: Buffer) => said.push(chunk))
  const deadline = performance.now() + 30_000
  while (!(await isHealthy(socket))) {
    if (child.exitCode !== null) throw new Error(`visord ended: ${Buffer.concat(said).toString().trim()}`)
    if (performance.now() > deadline) {
      await endChild(child, 'SIGKILL')
      throw new Error('visord did not become ready within 30 s.')
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  return { child, socket }
}

/** Asks by hand: a client with its own start would be measured with it. */
function isHealthy(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectSocket(path, () =>
      socket.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'),
    )
    socket.once('data', (chunk) => {
      socket.destroy()
      resolve(/^HTTP\/1\.1 2/u.test(chunk.toString('latin1')))
    })
    socket.once('error', () => resolve(false))
  })
}
