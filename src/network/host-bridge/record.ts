/**
 * What is on record of a bridge, for whoever comes next:
 *
 *   plan --taken by the mover--> moving --> pending --confirmed--> active --> removing --> (gone)
 *                                   '----------'--------------------------------'
 *                              a step failed, time over, cancelled: given back, gone
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type ProcessIdentity, readJsonFile, unlessMissing, writeFileAtomic } from '../../host/index.ts'
import type { BridgePlan } from './move.ts'

export interface BridgeRecord {
  readonly phase: 'moving' | 'pending' | 'active' | 'removing' | 'failed' | 'broken'
  readonly plan: BridgePlan
  /** Of the boot; what was made in another is gone. */
  readonly boot: string
  /** Who sees to it that it is confirmed in time. */
  readonly mover?: ProcessIdentity
  /** Milliseconds since the epoch. */
  readonly confirmBy?: number
  readonly message?: string
}

/** What the mover is to do. */
export interface Task {
  readonly kind: 'create' | 'remove'
  readonly plan: BridgePlan
  readonly boot: string
  readonly confirmSeconds: number
}

export const recordFile = (folder: string, bridge: string): string =>
  join(folder, `${encodeURIComponent(bridge)}.json`)
export const taskFile = (folder: string, bridge: string): string =>
  join(folder, `${encodeURIComponent(bridge)}.task`)

export async function writeRecord(folder: string, record: BridgeRecord): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await writeFileAtomic(recordFile(folder, record.plan.bridge), JSON.stringify(record), { durable: false })
}

export async function readRecord(folder: string, bridge: string): Promise<BridgeRecord | undefined> {
  const found = (await readJsonFile(recordFile(folder, bridge)).catch(() => undefined)) as
    | BridgeRecord
    | undefined
  return typeof found?.plan?.bridge === 'string' ? found : undefined
}

export async function forgetRecord(folder: string, bridge: string): Promise<void> {
  await rm(recordFile(folder, bridge), { force: true })
}

export async function readRecords(folder: string): Promise<BridgeRecord[]> {
  const names = (await unlessMissing(readdir(folder))) ?? []
  const found = await Promise.all(
    names
      .filter((name) => name.endsWith('.json'))
      .map((name) => readRecord(folder, decodeURIComponent(name.slice(0, -'.json'.length)))),
  )
  return found.flatMap((record) => record ?? []).sort((a, b) => (a.plan.bridge < b.plan.bridge ? -1 : 1))
}
