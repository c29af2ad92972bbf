/** Writes a running machine to a file and ends it; or leaves it as it was. */
import { randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import type { SaveOptions } from '../../../driver/index.ts'
import { cannotWrite, unlessMissing } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import { stayPaused } from '../block/change-disks.ts'
import type { Context } from '../context.ts'
import { refuseTransient } from '../disks/transient.ts'
import { isRecord, type QmpEvent } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'
import { giveUpSending, resumeAfterSending } from './give-up-sending.ts'
import type { Machine } from './machine.ts'
import { receiveState, type StateWriter } from './saved-state.ts'
import { refuseUnmovable } from './unmovable.ts'

/**
 *   running --record--> marked --stop--> stopped --migrate--> written --rename--> kept --kill--> off
 *      ^                   |                |                    |
 *      '---- failed, cancelled, or found so by a later daemon ---'
 *
 * Only the rename makes the save: before it the guest goes on, after it the guest is ended.
 */
export function saving(context: Context, registry: Registry) {
  return async function save(uuid: string, options: SaveOptions = {}): Promise<void> {
    const { file } = options
    const machine = registry.running(uuid, ['running', 'paused'])
    const { monitor, details } = machine
    refuseTransient(details.definition, 'saved')
    await refuseUnmovable(machine, 'saved')
    const paths = context.paths.of(uuid)
    if (file !== undefined) await checkTarget(file)
    const resume = machine.state.state === 'running'
    const id = randomUUID()
    const target = file ?? paths.saved
    const partial = `${target}.${id.slice(0, 8)}.partial`
    const intercept = ({ event }: QmpEvent) => event === 'STOP' || event === 'RESUME' || event === 'MIGRATION'
    const before = machine.state
    await machine.record({ saving: { id, file: target, partial, resume } })
    machine.interceptors.add(intercept)
    let writer: StateWriter | undefined
    try {
      await monitor.execute('stop')
      machine.setState({ ...before, state: 'paused', reason: 'saving' })
      const { version } = await monitor.greeting
      writer = await receiveState(
        target,
        partial,
        { path: paths.saveSocket, user: machine.guest.user },
        {
          id,
          savedAt: new Date().toISOString(),
          emulatorVersion: `${version.major}.${version.minor}.${version.micro}`,
          paused: !resume,
          definition: details.definition,
        },
      )
      await writeState(machine, paths.saveSocket, writer, options)
      await writer.commit()
    } catch (error) {
      await writer?.discard()
      await goOn(machine, resume)
      machine.setState(before)
      await machine.record({ saving: undefined })
      throw cannotWrite(target, error, { what: 'The state of the machine' })
    } finally {
      machine.interceptors.delete(intercept)
    }
    if (file === undefined) registry.setSaved(uuid, true)
    registry.tell(uuid, { type: 'saved' })
    await machine.kill('saved')
  }
}

async function checkTarget(file: string): Promise<void> {
  if (!isAbsolute(file))
    throw new VisorError('invalid-argument', `'${file}' is not an absolute path.`, {
      remedy: 'Give the whole path, beginning with a slash.',
    })
  const there = await unlessMissing(stat(file))
  if (there && !there.isFile())
    throw new VisorError('invalid-argument', `'${file}' is there, and is not a file.`)
}

/** Resolves when QEMU has written all of its state and we have received it. */
export async function writeState(
  { monitor }: Machine,
  socket: string,
  writer: StateWriter,
  { signal, progress }: SaveOptions,
): Promise<void> {
  await monitor.execute('migrate-set-parameters', { 'max-bandwidth': 2 ** 40 })
  await monitor.execute('migrate', { uri: `unix:${socket}` })
  for (let pause = 5; ; pause = Math.min(pause * 2, 100)) {
    if (signal?.aborted) throw new VisorError('cancelled', 'The save was cancelled.')
    const answer = await monitor.execute('query-migrate')
    const { status, ram, 'error-desc': why } = isRecord(answer) ? answer : {}
    if (status === 'completed') break
    if (status === 'failed' || status === 'cancelled') {
      // Where our side failed, that is the cause, and QEMU's own error only what came of it.
      await Promise.race([writer.received, Promise.resolve()])
      throw new VisorError('failed', `QEMU could not write its state: ${String(why ?? status)}.`)
    }
    const total = isRecord(ram) && typeof ram.total === 'number' ? ram.total : 0
    const remaining = isRecord(ram) && typeof ram.remaining === 'number' ? ram.remaining : total
    progress?.({ phase: 'writing memory', done: total - remaining, total, unit: 'bytes' })
    // Ends early when our side failed, such as for a full disk.
    await Promise.race([sleep(pause), writer.received])
  }
  await writer.received
  if (signal?.aborted) throw new VisorError('cancelled', 'The save was cancelled.')
  progress?.({ phase: 'syncing', done: writer.bytes, total: writer.bytes, unit: 'bytes' })
}

function sleep(timeoutMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeoutMs))
}

/** Lets the guest go on as if nothing had been. */
async function goOn(machine: Machine, resume: boolean): Promise<void> {
  await giveUpSending(machine.monitor)
  await (resume ? resumeAfterSending(machine.monitor) : stayPaused(machine))
}
