import { type ChildProcess, spawn } from 'node:child_process'
import { chmod } from 'node:fs/promises'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import type { Duplex } from 'node:stream'
import type { Workbench } from '../harness.ts'
import { endChild } from '../processes.ts'

/** What one move took, milliseconds. */
export interface Moved {
  readonly totalMs: number
  readonly downtimeMs: number
}

/** A guest in QEMUs with nothing around them, which goes from one to the next. */
export interface RawMigration {
  /** From the spawn of the next QEMU until the guest runs in it and the one before is gone. */
  move(): Promise<Moved>
}

interface Monitor {
  execute(command: string, args?: object): Promise<unknown>
  /** Resolves at the next event of that kind for which `holds`. */
  event(name: string, holds?: (data: Record<string, unknown>) => boolean): Promise<void>
}

interface RawQemu {
  readonly child: ChildProcess
  readonly monitor: Monitor
}

/** Takes the guest over from the QEMU behind `monitorPath`, which goes on with it. `args` have a monitor on descriptor 3. */
export async function rawMigration(
  bench: Workbench,
  program: string,
  args: readonly string[],
  monitorPath: string,
): Promise<RawMigration> {
  const children = new Set<ChildProcess>()
  bench.defer(() => Promise.all([...children].map((child) => endChild(child, 'SIGKILL'))))
  const socket = `${bench.directory}/raw-migration.sock`

  async function receive(): Promise<RawQemu> {
    const incoming = [...args, '-incoming', 'defer']
    const child = spawn(program, incoming, { stdio: ['ignore', 'ignore', 'inherit', 'pipe'], detached: true })
    children.add(child)
    const monitor = await openMonitor(child.stdio[3] as Duplex)
    await setCapabilities(monitor, ['events', 'late-block-activate'])
    await monitor.execute('migrate-incoming', { uri: `unix:${socket}` })
    return { child, monitor }
  }

  async function send(from: Monitor): Promise<RawQemu & { stoppedAt: number }> {
    const next = await receive()
    await chmod(socket, 0o777)
    let stoppedAt = 0
    void from.event('STOP').then(() => {
      stoppedAt = performance.now()
    })
    await setCapabilities(from, ['events'])
    await from.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 40, 'downtime-limit': 300 })
    const completed = (data: Record<string, unknown>) => data.status === 'completed'
    const done = [from.event('MIGRATION', completed), next.monitor.event('MIGRATION', completed)]
    await from.execute('migrate', { uri: `unix:${socket}` })
    await Promise.all(done)
    return { ...next, stoppedAt }
  }

  const first = connect(monitorPath)
  const original = await openMonitor(first)
  let current: RawQemu = await send(original)
  await current.monitor.execute('cont')
  // What has been sent to its end is refused for a moment.
  for (let tries = 0; tries < 100; tries++) {
    const refused = await original.execute('cont').then(
      () => false,
      () => true,
    )
    if (!refused) break
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  first.destroy()
  return {
    async move() {
      const started = performance.now()
      const next = await send(current.monitor)
      await next.monitor.execute('cont')
      const downtimeMs = performance.now() - next.stoppedAt
      await endChild(current.child, 'SIGKILL')
      children.delete(current.child)
      current = next
      return { totalMs: performance.now() - started, downtimeMs }
    },
  }
}

function setCapabilities({ execute }: Monitor, names: readonly string[]): Promise<unknown> {
  const capabilities = names.map((capability) => ({ capability, state: true }))
  return execute('migrate-set-capabilities', { capabilities })
}

async function openMonitor(stream: Duplex): Promise<Monitor> {
  const answers: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = []
  const waiting = new Set<(event: string, data: Record<string, unknown>) => void>()
  const greeted = Promise.withResolvers<void>()
  stream.on('error', () => {})
  createInterface({ input: stream }).on('line', (line) => {
    const message = JSON.parse(line)
    if (message.QMP) greeted.resolve()
    else if (message.event) for (const hear of waiting) hear(message.event, message.data ?? {})
    else if (message.error) answers.shift()?.reject(new Error(message.error.desc))
    else answers.shift()?.resolve(message.return)
  })
  const execute = (command: string, args?: object) =>
    new Promise<unknown>((resolve, reject) => {
      answers.push({ resolve, reject })
      stream.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
    })
  await greeted.promise
  await execute('qmp_capabilities')
  return {
    execute,
    event: (name, holds = () => true) =>
      new Promise((resolve) => {
        const hear = (event: string, data: Record<string, unknown>) => {
          if (event !== name || !holds(data)) return
          waiting.delete(hear)
          resolve()
        }
        waiting.add(hear)
      }),
  }
}
