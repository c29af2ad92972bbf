/** Makes the files of a template from a machine that runs, which goes on. */
import { randomUUID } from 'node:crypto'
import { open, readFile, rm, statfs } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import type { CallOptions } from '../../../driver/index.ts'
import { syncDirectory } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import { recordFiles } from '../block/change-disks.ts'
import type { Context } from '../context.ts'
import { giveTo, grantAccess } from '../machine/access.ts'
import { giveUpSending, resumeAfterSending } from '../machine/give-up-sending.ts'
import { launch } from '../machine/launch.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord, type QmpEvent } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'
import { keepFirmware, restoreFirmware } from '../snapshots/firmware-state.ts'
import { cloneDefinition, type FrozenDisk } from './clone-definition.ts'
import { freezeDisks, writableDisks } from './freeze-disks.ts'
import { connectListener, findListener, type Listener } from './listener.ts'
import { fileMark, type TemplateFiles, type TemplateRecord } from './record.ts'

/** A guest that changes its memory faster than it can be copied is stopped after this. */
const convergeMs = 10_000

export interface Capture extends CallOptions {
  readonly name: string
  readonly files: TemplateFiles
}

type Captured = Pick<TemplateRecord, 'definition' | 'disks' | 'memory' | 'state' | 'identity' | 'firmware'>

/**
 *   running --copy memory--> stopped at the end of it --overlays on its disks--> goes on
 *                                  '--> a second QEMU has its state --device state--> files of the template
 *
 * The second QEMU has its memory in the template's file, which so becomes the memory as it was; its disks are
 * empty ones, since it never runs.
 */
export async function capture(
  context: Context,
  registry: Registry,
  source: Machine,
  { name, files, signal, progress }: Capture,
): Promise<Captured> {
  const { definition } = source.details
  await checkRoom(source, files.directory, name)
  const found = await findListener(context, source)
  const identity = found?.listener
  let disks: readonly FrozenDisk[] = []
  const paths = context.paths.of(definition.uuid)
  const keep = () => keepFirmware(definition, paths, files.directory, 'template')
  // For the holder, which has to have some of the same size; what counts is kept again in the end.
  const firmware = await keep()
  let holder: Machine | undefined
  try {
    holder = await receiveMemory(context, source, {
      ...{ name, files, signal, progress, firmware, identity },
      async whenStopped() {
        await keep()
        disks = await freeze(registry, source, name)
      },
    })
    progress?.({ phase: 'writing device state' })
    await writeDeviceState(holder, files.state, context.paths.of(holder.details.definition.uuid).saveSocket)
    await holder.kill('destroyed')
    progress?.({ phase: 'syncing' })
    await sync(files)
    const [memory, state] = await Promise.all([fileMark(files.memory), fileMark(files.state)])
    return {
      ...{ definition, disks, memory, state },
      ...(identity ? { identity } : {}),
      ...(firmware === undefined ? {} : { firmware }),
    }
  } finally {
    found?.hook.close()
    if (holder) await endHolder(context, holder)
  }
}

/** A QEMU whose memory has no room in its file dies of it. What the source has resident is what will be written. */
async function checkRoom({ guest, details }: Machine, directory: string, name: string): Promise<void> {
  const [{ bavail, bsize }, status] = await Promise.all([
    statfs(directory),
    readFile(`/proc/${guest.identity.pid}/status`, 'latin1').catch(() => ''),
  ])
  const residentKiB = Number(/^VmRSS:\s+(\d+)/mu.exec(status)?.[1] ?? 0)
  const needed = Math.min(residentKiB, details.definition.memoryKiB) * 1024
  if (bavail * bsize >= needed) return
  throw new VisorError('failed', `There is no room for the template '${name}' in '${directory}'.`, {
    object: { kind: 'template', name },
    remedy: `It takes up to ${Math.ceil(needed / 2 ** 20)} MiB; free as much there.`,
  })
}

async function endHolder({ paths }: Context, holder: Machine): Promise<void> {
  await holder.kill('destroyed')
  const { definition } = holder.details
  const { consoleDirectory, tpm } = paths.of(definition.uuid)
  for (const path of [consoleDirectory, tpm]) await rm(path, { recursive: true, force: true })
}

/** Both definitions have the disks that the machine writes to now. */
async function freeze(registry: Registry, source: Machine, name: string): Promise<readonly FrozenDisk[]> {
  const live = await writableDisks(source)
  const overlays = await freezeDisks(source, live, name)
  const changes = live.flatMap(({ file }, index) => {
    const path = overlays[index]
    return path === undefined ? [] : [{ from: file, to: { type: 'file', path, format: 'qcow2' } as const }]
  })
  await recordFiles(registry, source.details.definition.uuid, changes)
  return live.map(({ alias, file, format, sizeBytes }) => ({ alias, file, format, sizeBytes }))
}

interface Receiving extends Capture {
  /** Done while the source stands still and all of its memory is there. */
  readonly whenStopped: () => Promise<void>
  /** Where the variables of its firmware and the state of its TPM are kept. */
  readonly firmware: string | undefined
  readonly identity: Listener | undefined
}

/** A second QEMU that has the state of the source, which goes on. */
async function receiveMemory(context: Context, source: Machine, options: Receiving): Promise<Machine> {
  const { name, files, signal, progress, whenStopped, identity } = options
  const uuid = randomUUID()
  const definition = cloneDefinition(source.details.definition, [], {
    uuid,
    name,
    directory: files.directory,
  })
  const paths = context.paths.of(uuid)
  const sizes = await imageSizes(source)
  await restoreFirmware(definition, paths, options)
  let hook: Awaited<ReturnType<typeof connectListener>>
  let sending: Promise<void> | undefined
  try {
    return await launch(context, {
      definition,
      id: 0,
      paused: true,
      tell: () => {},
      memory: { file: files.memory, share: true },
      details: { template: { id: files.directory, role: 'capture' } },
      // Without that, the state says that it was paused, and a clone would wait to be told to run.
      arrange: (args) => [...withEmptyDisks(args, sizes), '-global', 'migration.store-global-state=off'],
      ...(signal ? { signal } : {}),
      incoming: {
        source: paths.socket('incoming'),
        sizeBytes: 0,
        async before(machine) {
          hook = await connectListener(context, machine, identity)
        },
        feed() {
          sending = sendState(source, paths.socket('incoming'), { signal, progress, whenStopped })
          return sending
        },
      },
    })
  } finally {
    // Who receives may be gone first: the source has gone on before it is anybody else's.
    await sending?.catch(() => {})
    hook?.close()
  }
}

type Sending = Pick<Receiving, 'signal' | 'progress' | 'whenStopped'>

/** Sends the state of the source while it runs, stands still at the end of that, and goes on. */
async function sendState(source: Machine, socket: string, sending: Sending): Promise<void> {
  const { monitor, state: before } = source
  const resume = before.state === 'running'
  const intercept = ({ event }: QmpEvent) => event === 'STOP' || event === 'RESUME' || event === 'MIGRATION'
  await source.record({ capturing: { resume } })
  source.interceptors.add(intercept)
  try {
    await grantAccess(source, [{ path: socket, write: true, what: 'socket' }])
    await setCapability(source, 'pause-before-switchover', true)
    await monitor.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 40, 'downtime-limit': 300 })
    await monitor.execute('migrate', { uri: `unix:${socket}` })
    await waitFor(source, 'pre-switchover', sending)
    await sending.whenStopped()
    await monitor.execute('migrate-continue', { state: 'pre-switchover' })
    await waitFor(source, 'completed', sending)
  } finally {
    await settleCapture(source)
    source.interceptors.delete(intercept)
    source.setState({ ...before })
  }
}

/** Lets the source of a template go on, whatever became of that. */
export async function settleCapture(source: Machine): Promise<void> {
  const { monitor, details } = source
  await giveUpSending(monitor)
  await setCapability(source, 'pause-before-switchover', false).catch(() => {})
  if (details.capturing?.resume) await resumeAfterSending(monitor)
  await source.record({ capturing: undefined })
}

function setCapability({ monitor }: Machine, capability: string, state: boolean): Promise<unknown> {
  return monitor.execute('migrate-set-capabilities', { capabilities: [{ capability, state }] })
}

async function waitFor(source: Machine, wanted: string, { signal, progress }: Sending): Promise<void> {
  const started = performance.now()
  let stopped = false
  for (let pause = 2; ; pause = Math.min(pause * 2, 50)) {
    if (signal?.aborted) throw new VisorError('cancelled', 'Making the template was cancelled.')
    const answer = await source.monitor.execute('query-migrate')
    const { status, ram, 'error-desc': why } = isRecord(answer) ? answer : {}
    if (status === wanted) return
    if (status === 'failed' || status === 'cancelled')
      throw new VisorError('failed', `QEMU could not copy its memory: ${String(why ?? status)}.`)
    const total = isRecord(ram) ? Number(ram.total) : 0
    const remaining = isRecord(ram) ? Number(ram.remaining) : total
    progress?.({ phase: 'copying memory', done: total - remaining, total, unit: 'bytes' })
    if (!stopped && performance.now() - started > convergeMs) {
      stopped = true
      await source.monitor.execute('stop')
    }
    await sleep(pause)
  }
}

/** The sizes that the guest sees, by the file of the image. */
async function imageSizes({ monitor, details }: Machine): Promise<ReadonlyMap<string, number>> {
  const answer = await monitor.execute('query-block')
  const sizes = new Map<string, number>()
  for (const block of Array.isArray(answer) ? answer.filter(isRecord) : []) {
    const disk = details.definition.devices.disks.find(
      ({ alias = '' }) => typeof block.qdev === 'string' && block.qdev.split('/').includes(alias),
    )
    const image = isRecord(block.inserted) && isRecord(block.inserted.image) ? block.inserted.image : {}
    const file = disk?.file ?? disk?.block
    if (file !== undefined) sizes.set(file, Number(image['virtual-size']))
  }
  return sizes
}

/** Disks of the same sizes that are nowhere: no file is opened twice. */
function withEmptyDisks(args: readonly string[], sizes: ReadonlyMap<string, number>): string[] {
  return args.map((arg, index) => {
    if (args[index - 1] !== '-blockdev') return arg
    const node: unknown = JSON.parse(arg)
    const size = sizes.get(fileOf(node) ?? '')
    if (!isRecord(node) || size === undefined) return arg
    const { 'node-name': name, 'read-only': readonly } = node
    return JSON.stringify({
      ...{ driver: 'null-co', 'node-name': name, size, 'read-zeroes': true },
      ...(typeof readonly === 'boolean' ? { 'read-only': readonly } : {}),
    })
  })
}

function fileOf(node: unknown): string | undefined {
  if (!isRecord(node)) return undefined
  return typeof node.filename === 'string' ? node.filename : fileOf(node.file)
}

/** Writes what QEMU has beside its main memory, which is shared and so is left out. */
async function writeDeviceState(holder: Machine, path: string, socket: string): Promise<void> {
  await setCapability(holder, 'x-ignore-shared', true)
  const file = await open(path, 'wx', 0o600)
  const received = Promise.withResolvers<void>()
  received.promise.catch(() => {})
  const server: Server = createServer(async (connection) => {
    try {
      for await (const chunk of connection as AsyncIterable<Buffer>) await file.write(chunk)
      received.resolve()
    } catch (error) {
      received.reject(error)
    }
  })
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(socket, resolve)
    })
    await giveTo(holder, socket)
    await holder.monitor.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 40 })
    await holder.monitor.execute('migrate', { uri: `unix:${socket}` })
    await waitFor(holder, 'completed', {} as Sending)
    await received.promise
  } finally {
    server.close()
    await file.close()
  }
}

async function sync({ directory, memory, state }: TemplateFiles): Promise<void> {
  for (const path of [memory, state]) {
    const file = await open(path, 'r+')
    try {
      await file.sync()
    } finally {
      await file.close()
    }
  }
  await syncDirectory(directory)
}

function sleep(timeoutMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeoutMs))
}
