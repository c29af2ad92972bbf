/** An OVA, or an OVF with its files beside it: its files are read where they lie. */
import { type FileHandle, open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errorNumber, readImageHeader } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { checkRange, parseManifest, type Range } from './manifest.ts'
import { type OvfMachine, parseOvf } from './ovf.ts'
import { listTar } from './tar.ts'

const mostTextBytes = 4 * 2 ** 20

export interface Appliance {
  readonly machine: OvfMachine
  /** The bytes of each file that the machine's disks are of. */
  fileOf(name: string): Range
  /** Whether every file was held against its digest. */
  readonly verified: boolean
  close(): Promise<void>
}

interface Call {
  readonly signal: AbortSignal
  readonly progress: (progress: { phase: string; done: number; total: number; unit: 'bytes' }) => void
}

/**
 * Opens it, and holds every file against the manifest where there is one. Fails with `invalid-argument` for what is no
 * OVF, `failed` when a file is not what the manifest says, `denied` when a disk of it keeps its data in other files.
 */
export async function openAppliance(path: string, call: Call): Promise<Appliance> {
  const opened: FileHandle[] = []
  const close = async () => {
    for (const file of opened) await file.close()
  }
  const take = async (file: string): Promise<Range> => {
    const handle = await openFile(file)
    opened.push(handle)
    const { size } = await handle.stat()
    return { file: handle, offset: 0, sizeBytes: size }
  }
  try {
    const isOvf = /\.ovf$/iu.test(path)
    const files = isOvf ? new Map([[basename(path), await take(path)]]) : await listed(await take(path), path)
    const [ovfName, ovf] = [...files].find(([name]) => /\.ovf$/iu.test(name)) ?? []
    if (!ovf || ovfName === undefined) throw new VisorError('invalid-argument', `'${path}' has no OVF in it.`)
    const machine = parseOvf(await readText(ovf, ovfName))
    const manifestName = ovfName.replace(/\.ovf$/iu, '.mf')
    const wanted = machine.disks.flatMap(({ file }) => (file === undefined ? [] : [file]))
    if (isOvf) {
      for (const name of wanted) files.set(name, await take(join(dirname(path), name)))
      const manifest = await take(join(dirname(path), manifestName)).catch(() => undefined)
      if (manifest) files.set(manifestName, manifest)
    }
    const fileOf = (name: string): Range => {
      const found = files.get(name)
      if (!found)
        throw new VisorError('invalid-argument', `'${path}' lacks the file '${name}' that its OVF names.`)
      return found
    }
    for (const { file, format } of machine.disks)
      if (file !== undefined) await checkDisk(fileOf(file), file, format)
    const manifest = files.get(manifestName)
    if (manifest) await verify(await readText(manifest, manifestName), [ovfName, ...wanted], fileOf, call)
    return { machine, fileOf, close, verified: manifest !== undefined }
  } catch (error) {
    await close()
    throw error
  }
}

async function listed({ file, sizeBytes }: Range, path: string): Promise<Map<string, Range>> {
  const entries = await listTar(file, sizeBytes, path)
  return new Map(
    entries.map(({ name, offset, sizeBytes: size }) => [name, { file, offset, sizeBytes: size }]),
  )
}

async function verify(
  text: string,
  needed: readonly string[],
  fileOf: (name: string) => Range,
  { signal, progress }: Call,
): Promise<void> {
  const entries = parseManifest(text)
  for (const name of needed)
    if (!entries.some((entry) => entry.name === name))
      throw new VisorError('failed', `The manifest has no digest of '${name}'.`, {
        remedy: 'Get it again: it was changed or damaged on the way.',
      })
  const ranges = entries.map((entry) => ({ entry, range: fileOf(entry.name) }))
  const total = ranges.reduce((sum, { range }) => sum + range.sizeBytes, 0)
  let done = 0
  const onRead = (bytes: number) => {
    done += bytes
    progress({ phase: 'verifying', done, total, unit: 'bytes' })
  }
  for (const { entry, range } of ranges) await checkRange(range, entry, { signal, onRead })
}

/** An image that is based on another file, or keeps its data in one, would make QEMU open what nobody named. */
async function checkDisk({ file, offset }: Range, name: string, format: string): Promise<void> {
  const bytes = {
    read: (buffer: Buffer, at: number, length: number, position: number) =>
      file.read(buffer, at, length, offset + position),
  }
  const { backing, extents } = await readImageHeader(bytes, name, format)
  const other = backing?.name ?? extents?.find((extent) => extent !== name) ?? extents?.[0]
  if (other !== undefined)
    throw new VisorError(
      'denied',
      `The disk '${name}' keeps its data in another file, '${other.slice(0, 200)}'.`,
      {
        remedy: 'Export it as one file where it is from, or convert it: qemu-img convert.',
      },
    )
}

async function readText({ file, offset, sizeBytes }: Range, name: string): Promise<string> {
  if (sizeBytes > mostTextBytes) throw new VisorError('invalid-argument', `'${name}' is longer than 4 MiB.`)
  const buffer = Buffer.alloc(sizeBytes)
  const { bytesRead } = await file.read(buffer, 0, sizeBytes, offset)
  return buffer.toString('utf8', 0, bytesRead).replace(/^\ufeff/u, '')
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (cause) {
    const why = errorNumber(cause) === 'ENOENT' ? 'there is no such file' : String(cause)
    throw new VisorError('invalid-argument', `'${path}' cannot be read: ${why}.`, { cause })
  }
}
