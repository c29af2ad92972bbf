/** What is kept of a template: an entry in the store, and a directory with its memory and device state. */
import { type FileHandle, open, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Store } from '../../../driver/index.ts'
import { notFound, type Template, VisorError } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { isRecord } from '../qmp/index.ts'
import type { FrozenDisk } from './clone-definition.ts'

export interface TemplateRecord {
  readonly id: string
  readonly name: string
  /** Not used before it is ready; one that is not when a daemon starts was cut short, and is removed. */
  readonly phase: 'creating' | 'ready'
  readonly createdAt: string
  readonly domain: string
  /** Of the machine as it was: its disks are the ones kept still. */
  readonly definition: CompleteDefinition
  readonly disks: readonly FrozenDisk[]
  /** Who tells a clone its identity: the hook or the agent in the guest; nobody knows without. */
  readonly identity?: 'hook' | 'agent'
  /** The folder with the variables of its firmware and the state of its TPM, if it has such. */
  readonly firmware?: string
  readonly pinned: boolean
  readonly pool: number
  /** What its files must be. */
  readonly memory?: { readonly sizeBytes: number; readonly modifiedNs: string }
  readonly state?: { readonly sizeBytes: number; readonly modifiedNs: string }
}

const prefix = 'qemu/template/'

export interface TemplateFiles {
  readonly directory: string
  readonly memory: string
  readonly state: string
}

export function templateFiles(parent: string, id: string): TemplateFiles {
  const directory = join(parent, id)
  return { directory, memory: join(directory, 'memory'), state: join(directory, 'state') }
}

export interface TemplateRecords {
  all(): TemplateRecord[]
  find(name: string): TemplateRecord | undefined
  findById(id: string): TemplateRecord | undefined
  /** Fails with `not-found` also while it is being made. */
  get(name: string): TemplateRecord
  put(record: TemplateRecord): Promise<void>
  remove(id: string): Promise<void>
}

/** The templates in the store, read once and written through. */
export async function openTemplateRecords(store: Store): Promise<TemplateRecords> {
  const byId = new Map<string, TemplateRecord>()
  for (const { value } of await store.list(prefix))
    if (isRecord(value) && typeof value.id === 'string')
      byId.set(value.id, value as unknown as TemplateRecord)
  const find = (name: string) => [...byId.values()].find((record) => record.name === name)
  return {
    all: () => [...byId.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    find,
    findById: (id) => byId.get(id),
    get(name) {
      const record = find(name)
      if (record?.phase !== 'ready') throw notFound('template', name)
      return record
    },
    async put(record) {
      const before = byId.get(record.id)
      byId.set(record.id, record)
      try {
        await store.write([{ key: prefix + record.id, value: record }])
      } catch (error) {
        if (before) byId.set(record.id, before)
        else byId.delete(record.id)
        throw error
      }
    },
    async remove(id) {
      await store.write([{ key: prefix + id, value: undefined }])
      byId.delete(id)
    },
  }
}

/** Size and time of the last change, by which it is known again. */
export async function fileMark(path: string): Promise<{ sizeBytes: number; modifiedNs: string }> {
  const { size, mtimeNs } = await stat(path, { bigint: true })
  return { sizeBytes: Number(size), modifiedNs: String(mtimeNs) }
}

/**
 * Opens the device state of a template, once both of its files are seen to be those that were written. Fails
 * with `failed` when one is missing or was changed.
 */
export async function openTemplateState(record: TemplateRecord, files: TemplateFiles): Promise<FileHandle> {
  for (const part of ['memory', 'state'] as const) {
    const mark = await fileMark(files[part]).catch(() => undefined)
    const known = record[part]
    if (!mark || mark.sizeBytes !== known?.sizeBytes || mark.modifiedNs !== known.modifiedNs)
      throw new VisorError(
        'failed',
        `The template '${record.name}' is damaged: its file '${files[part]}' is ${mark ? 'not the one that was written' : 'missing'}.`,
        {
          object: { kind: 'template', name: record.name },
          remedy: `Remove it and make it anew: 'visor template remove ${record.name}'.`,
        },
      )
  }
  return open(files.state, 'r')
}

export async function removeTemplateFiles({ directory }: TemplateFiles): Promise<void> {
  await rm(directory, { recursive: true, force: true })
}

export interface TemplateUse {
  readonly ready: number
  readonly clones: readonly string[]
  readonly sizeBytes: number
}

export function describeTemplate(record: TemplateRecord, use: TemplateUse): Template {
  const { name, createdAt, domain, definition, pinned, pool, identity = 'none' } = record
  return {
    ...{ name, driver: 'qemu', domain, createdAt, memoryKiB: definition.memoryKiB },
    ...{ sizeBytes: use.sizeBytes, identity, pinned, pool, ready: use.ready, clones: [...use.clones] },
    disks: record.disks.map(({ file }) => file),
  }
}
