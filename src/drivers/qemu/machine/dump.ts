/** Writes the memory of a machine to a file for a debugger. */
import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { CoreDumpOptions, Domains } from '../../../driver/index.ts'
import { syncDirectory } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import { cannotOpen } from '../disks/disk-image.ts'
import { isRecord, type QmpEvent } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'
import { grantAccess, revokeAccess } from './access.ts'
import type { Machine } from './machine.ts'
import { blockedReasons } from './unmovable.ts'

/**
 *   as it was --record--> marked --dump-guest-memory--> stopped, writing --rename--> whole
 *       ^                   |                              |
 *       '-- failed, cancelled, or found so by a later daemon: the part is removed --'
 *
 * QEMU stops the processors itself, and lets them go on when it has written.
 */
export function dumping(registry: Registry): Required<Pick<Domains, 'coreDump'>> {
  return {
    async coreDump(uuid, options) {
      const { file, afterwards = 'resume' } = options
      const machine = registry.running(uuid, ['running', 'paused', 'crashed', 'pmsuspended'])
      const partial = `${file}.${randomUUID().slice(0, 8)}.partial`
      await reserve(file, partial)
      await machine.record({ dumping: { partial } })
      try {
        await grantAccess(machine, [{ path: partial, write: true, what: 'core dump' }])
        await dump(machine, partial, options)
        await revokeAccess(machine, [partial])
        await sync(partial)
        await rename(partial, file)
        await syncDirectory(dirname(file))
      } catch (error) {
        await rm(partial, { force: true })
        await revokeAccess(machine, [partial]).catch(() => {})
        throw error
      } finally {
        await machine.record({ dumping: undefined }).catch(() => {})
      }
      if (afterwards === 'destroy') await machine.kill('destroyed')
      if (afterwards === 'reset') await machine.monitor.execute('system_reset')
    },
  }
}

/** The file that is written to, made now, so that what refuses it is known before the guest stands still. */
async function reserve(file: string, partial: string): Promise<void> {
  const there = await open(partial, 'wx', 0o600).catch((cause) => {
    throw cannotOpen(file, cause, 'core dump')
  })
  await there.close()
}

async function dump(machine: Machine, file: string, { format, signal, progress }: CoreDumpOptions) {
  const { monitor, state: before } = machine
  const intercept = ({ event }: QmpEvent) =>
    event === 'STOP' || event === 'RESUME' || event === 'DUMP_COMPLETED'
  machine.interceptors.add(intercept)
  try {
    machine.setState({ ...before, state: 'paused', reason: 'dumping' })
    await monitor.execute('dump-guest-memory', {
      paging: false,
      protocol: `file:${file}`,
      detach: true,
      ...(format === undefined ? {} : { format }),
    })
    for (let pause = 10; ; pause = Math.min(pause * 2, 200)) {
      const answer = await monitor.execute('query-dump')
      const { status, completed, total } = isRecord(answer) ? answer : {}
      if (status === 'failed' || status === 'completed') {
        await isOver(machine)
        if (status === 'failed') throw new VisorError('failed', `QEMU could not write '${file}'.`)
        break
      }
      progress?.({
        phase: 'writing memory',
        done: Number(completed) || 0,
        total: Number(total) || 0,
        unit: 'bytes',
      })
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
    // QEMU cannot be told to give a dump up.
    if (signal?.aborted) throw new VisorError('cancelled', 'The core dump was cancelled.')
  } finally {
    machine.interceptors.delete(intercept)
    machine.setState(before)
  }
}

/**
 * QEMU says how a dump ended before it closes the file, lets the guest go on, and takes its migration blocker
 * away, which comes last: until then nothing else can take the state of the machine.
 */
async function isOver({ monitor }: Machine): Promise<void> {
  for (
    let pause = 1;
    (await blockedReasons(monitor)).some((reason) => reason.includes('dump-guest-memory'));
  ) {
    await new Promise((resolve) => setTimeout(resolve, pause))
    pause = Math.min(pause * 2, 100)
  }
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r+')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
