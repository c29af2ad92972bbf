/** An upload on the disk: its bytes, and beside them what was said of it. Both are hidden from who lists volumes. */
import { open, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { listDirectory, readJsonFile, unlessMissing, writeFileAtomic } from '../../host/index.ts'
import { parse, schema as s, uploadWanted } from '../../model/index.ts'

const pattern = /^\.upload-(?<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?<record>\.json)?$/u
const recordBytes = 16_384

const Wanted = s.object('UploadRecord', 'What was said of an upload', {
  ...uploadWanted,
  createdAt: s.string('when it began, ISO 8601', { maxLength: 64 }),
  bootId: s.string('boot of the host in which its bytes came', { maxLength: 64 }),
})
export type UploadRecord = s.Output<typeof Wanted>

export interface PartialFile {
  readonly id: string
  readonly path: string
  readonly record: UploadRecord
  /** How much there is of it: bytes come in order. */
  readonly offset: number
  /** When the last of it came. */
  readonly changedAt: number
}

export const partialPath = (folder: string, id: string): string => join(folder, `.upload-${id}`)
const recordPath = (folder: string, id: string): string => `${partialPath(folder, id)}.json`

/** On record before there is a byte of it. */
export async function writePartial(
  folder: string,
  id: string,
  record: Omit<UploadRecord, 'bootId'>,
): Promise<void> {
  await writeFileAtomic(recordPath(folder, id), JSON.stringify({ ...record, bootId: await readBootId() }))
  try {
    await (await open(partialPath(folder, id), 'wx', 0o600)).close()
  } catch (error) {
    await removePartial(folder, id)
    throw error
  }
}

/**
 * Undefined when there is none, or none that can be believed: after a power cut a file can be as long as it was and not
 * have the bytes.
 */
export async function readPartial(folder: string, id: string): Promise<PartialFile | undefined> {
  const path = partialPath(folder, id)
  const [kind, json] = await Promise.all([
    unlessMissing(stat(path)),
    readJsonFile(recordPath(folder, id), recordBytes),
  ])
  if (!kind?.isFile() || json === undefined) return undefined
  try {
    const record = parse(Wanted, json, { code: 'invalid-argument' })
    if (record.bootId !== (await readBootId())) return undefined
    return { id, path, record, offset: kind.size, changedAt: kind.mtimeMs }
  } catch {
    return undefined
  }
}

/** Identities of all that there is something of. */
export async function partialIds(folder: string): Promise<string[]> {
  const names = await listDirectory(folder)
  return [...new Set(names.flatMap((name) => pattern.exec(name)?.groups?.id ?? []))]
}

/** The record last: what is left by a crash in between is still known. */
export async function removePartial(folder: string, id: string): Promise<void> {
  await rm(partialPath(folder, id), { force: true })
  await rm(recordPath(folder, id), { force: true })
}

let bootId: Promise<string> | undefined
function readBootId(): Promise<string> {
  bootId ??= readFile('/proc/sys/kernel/random/boot_id', 'utf8').then((text) => text.trim())
  return bootId
}
