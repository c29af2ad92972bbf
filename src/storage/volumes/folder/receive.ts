/** Makes a file that came from outside a volume of a folder. Nothing it says of itself is believed. */
import { chmod, chown, link, open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errorNumber, readImageHeader, runChecked, syncDirectory } from '../../../host/index.ts'
import { VisorError, type VolumeFormat } from '../../../model/index.ts'
import type { FoundVolume, Received, Receiving, VolumeNotes } from '../store.ts'
import { formatOfName } from '../volume-format.ts'
import { alreadyExists } from './create.ts'
import { checkChain, type FolderReader } from './read.ts'

const formats: readonly VolumeFormat[] = [
  ...(['raw', 'iso', 'qcow2', 'qcow', 'qed', 'vmdk', 'vdi', 'vpc', 'vhdx', 'luks'] as const),
]

export interface ReceivingOptions {
  readonly folder: string
  readonly reader: FolderReader
  readonly notes: VolumeNotes
  readonly noCow: boolean
  /** Keeps what the name of a volume does not say. */
  note(name: string, format: VolumeFormat): Promise<void>
}

export function receiveInto({ folder, reader, notes, noCow, note }: ReceivingOptions): Receiving {
  /** What it takes the place of. */
  async function check({ name, format, replace }: Received): Promise<FoundVolume | undefined> {
    const wanted = format ?? formatOfName(name)
    if (wanted !== undefined && !formats.includes(wanted))
      throw new VisorError('unsupported-config', `No volume of the format '${wanted}' can be uploaded.`, {
        path: 'format',
        remedy: `Formats that can be: ${formats.join(', ')}.`,
      })
    const there = await reader.read(name)
    if (!there) return undefined
    if (!replace)
      throw new VisorError('already-exists', `There is already a volume '${name}'.`, {
        remedy: 'Choose another name, or say that it may be replaced: --replace.',
        object: { kind: 'volume', name },
      })
    if (there.type !== 'file') throw cannotReplace(there, `it is of type ${there.type}, not a file`)
    if ((wanted ?? 'raw') !== there.format)
      throw cannotReplace(there, `it is of the format ${there.format}, not ${wanted ?? 'raw'}`)
    return there
  }

  return {
    folder,
    async check(received) {
      await check(received)
    },
    async prepare(path) {
      if (noCow) await runChecked('chattr', ['+C', path])
    },
    async accept(path, received) {
      const { name } = received
      const before = await check(received)
      const format = await inspect(path, received)
      await allowAs(path, before)
      await note(name, format)
      if (before) await rename(path, before.path)
      else await linkAs(path, join(folder, name))
      await syncDirectory(folder)
    },
  }

  /** Its format. Fails when it is another one than was said, or when it is based on something out of the folder. */
  async function inspect(path: string, { name, format }: Received): Promise<VolumeFormat> {
    const said = format ?? formatOfName(name)
    const found = await reader.lookInto(path, name, said ?? 'raw')
    const look = await reader.lookInto(path, 'upload', undefined)
    if (said === undefined && look.format !== 'raw')
      throw new VisorError(
        'invalid-argument',
        `What came for '${name}' looks like ${look.format}, but nobody said so.`,
        {
          path: 'format',
          remedy: `Say its format, or choose a name that ends in '.${look.format}'.`,
        },
      )
    const expected = said === 'iso' ? 'raw' : (said ?? 'raw')
    if (expected !== 'raw' && look.format !== expected)
      throw new VisorError('invalid-argument', `What came for '${name}' is not of the format ${expected}.`, {
        path: 'format',
        remedy: `It looks like ${look.format}: say that, and choose a name that ends so.`,
      })
    if (found.message !== undefined)
      throw new VisorError('invalid-argument', `What came for '${name}' cannot be used: ${found.message}`, {
        remedy: "See what it is with 'qemu-img info' and 'qemu-img check'.",
      })
    await refuseExtents(path, name, expected)
    // What the volume before was based on is nothing to this one.
    const others = { ...notes, of: (one: string) => (one === name ? undefined : notes.of(one)) }
    await checkChain(folder, found, reader, others)
    return said ?? 'raw'
  }
}

/** A VMDK may keep its data in files beside it, which are other volumes here. */
async function refuseExtents(path: string, name: string, format: VolumeFormat): Promise<void> {
  if (format !== 'vmdk') return
  const file = await open(path, 'r')
  const { extents = [] } = await readImageHeader(file, path, format).finally(() => file.close())
  if (extents.length > 0)
    throw new VisorError(
      'denied',
      `What came for '${name}' keeps its data in other files: '${extents[0]}'.`,
      {
        remedy: "Make one file of it first: 'qemu-img convert -O qcow2'.",
      },
    )
}

/** As the volume that it takes the place of, or as a new one; durable before it has its name. */
async function allowAs(path: string, before: FoundVolume | undefined): Promise<void> {
  const file = await open(path, 'r')
  try {
    if (before) {
      const { mode, uid, gid } = await stat(before.path)
      await chown(path, uid, gid)
      await chmod(path, mode & 0o7777)
    }
    await file.sync()
  } finally {
    await file.close()
  }
}

/** A link never replaces a file there is, as a rename would. */
async function linkAs(path: string, target: string): Promise<void> {
  try {
    await link(path, target)
  } catch (error) {
    throw errorNumber(error) === 'EEXIST' ? alreadyExists(target.slice(target.lastIndexOf('/') + 1)) : error
  }
  await rm(path, { force: true })
}

function cannotReplace({ name }: FoundVolume, why: string): VisorError {
  return new VisorError('invalid-argument', `The volume '${name}' cannot be replaced: ${why}.`, {
    object: { kind: 'volume', name },
    remedy: 'Choose another name, or remove that one first: visor volume remove.',
  })
}
