/**
 * Looks at disk images before QEMU opens them, so that nothing but what the definition names is ever opened
 * by surprise. Source: QEMU's docs/interop/qcow2.
 */
import { type FileHandle, open, realpath } from 'node:fs/promises'
import { dirname, isAbsolute, resolve } from 'node:path'
import { errorNumber, findRefusing } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'

/** An image and what it is based on. */
export interface DiskImage {
  readonly path: string
  readonly format: 'raw' | 'qcow2'
  readonly backing?: DiskImage
}

const longestChain = 64
const magic = 0x514649fb
const feature = { corrupt: 2n, dataFile: 4n, known: 0x1fn }
const backingFormatExtension = 0xe2792aca

/**
 * The image at `path` with all it is based on. Fails with `not-found` when a file is missing, `denied` when
 * it cannot be read, and `failed` when it is not what it is said to be, damaged, encrypted, or keeps its
 * data elsewhere.
 */
export async function readDiskImage(path: string, format: 'raw' | 'qcow2'): Promise<DiskImage> {
  return readChain(path, format, new Set())
}

async function readChain(path: string, format: string, seen: Set<string>): Promise<DiskImage> {
  const file = await openImage(path)
  try {
    const real = await realpath(path)
    if (seen.has(real)) throw bad(path, 'is based on itself')
    if (seen.size >= longestChain) throw bad(path, `is based on more than ${longestChain} other images`)
    seen.add(real)
    const kind = await file.stat()
    if (!kind.isFile() && !kind.isBlockDevice()) throw bad(path, 'is neither a file nor a block device')
    if (format === 'raw') return { path, format }
    if (format !== 'qcow2') throw bad(path, `has the format '${format}'; only raw and qcow2 can be used`)
    const header = await readHeader(file, path)
    if (!header.backing) return { path, format }
    const { name, format: backingFormat } = header.backing
    if (/^[a-z][a-z0-9+.-]*:/iu.test(name)) throw bad(path, `is based on '${name}', which is no file`)
    if (!backingFormat)
      throw bad(path, `is based on '${name}' without saying in which format that is`, {
        remedy: `Say it once: 'qemu-img rebase -u -b ${name} -F qcow2 ${path}' (or -F raw).`,
      })
    const base = isAbsolute(name) ? name : resolve(dirname(real), name)
    return { path, format, backing: await readChain(base, backingFormat, seen) }
  } finally {
    await file.close()
  }
}

async function openImage(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r')
  } catch (cause) {
    throw cannotOpen(path, cause, 'disk image')
  }
}

/** The error for a file of a definition that cannot be used. */
export function cannotOpen(path: string, cause: unknown, what: string): VisorError {
  const number = errorNumber(cause)
  if (number === 'ENOENT' || number === 'ENOTDIR')
    return new VisorError('not-found', `The ${what} '${path}' does not exist.`, {
      cause,
      remedy: 'Make it, or correct the path in the definition.',
      object: { kind: 'file', name: path },
    })
  if (number === 'EACCES' || number === 'EPERM') return refused(path, cause, what)
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new VisorError('failed', `The ${what} '${path}' cannot be opened: ${reason}.`, { cause })
}

function refused(path: string, cause: unknown, what: string): VisorError {
  const component = findRefusing(path)
  const isFile = component === path
  const where = isFile ? 'it is not open' : `the folder '${component}' cannot be entered`
  return new VisorError(
    'denied',
    `The ${what} '${path}' cannot be opened: ${where} to uid ${process.getuid?.()}.`,
    {
      cause,
      remedy: isFile
        ? 'Let the user that visor runs as read it, and write it if the guest shall.'
        : `Let the user that visor runs as enter it ('chmod o+x ${component}'), or keep the ${what} elsewhere.`,
      object: { kind: 'file', name: component },
    },
  )
}

interface Header {
  readonly backing?: { readonly name: string; readonly format: string | undefined }
}

async function readHeader(file: FileHandle, path: string): Promise<Header> {
  const bytes = await readAt(file, 0, 65_536)
  if (bytes.length < 72 || bytes.readUInt32BE(0) !== magic)
    throw bad(path, 'is not in the format qcow2, as the definition says', {
      remedy: "See its format with 'qemu-img info', and correct the definition.",
    })
  const version = bytes.readUInt32BE(4)
  if (version !== 2 && version !== 3) throw bad(path, `has the unknown qcow2 version ${version}`)
  if (bytes.readUInt32BE(32) !== 0) throw bad(path, 'is encrypted, which is not supported')
  const features = version === 3 && bytes.length >= 104 ? bytes.readBigUInt64BE(72) : 0n
  if (features & feature.corrupt)
    throw bad(path, 'is marked as damaged', { remedy: `Repair it with 'qemu-img check -r all ${path}'.` })
  if (features & feature.dataFile) throw bad(path, 'keeps its data in another file, which is not supported')
  if (features & ~feature.known) throw bad(path, 'has features that are not known here')
  const offset = bytes.readBigUInt64BE(8)
  if (offset === 0n) return {}
  const length = bytes.readUInt32BE(16)
  if (length === 0 || length > 1023 || offset > 2n ** 40n) throw bad(path, 'has a broken header')
  const name = (await readAt(file, Number(offset), length)).toString('utf8')
  if (name.length === 0 || name.includes('\0')) throw bad(path, 'has a broken header')
  const extensions = version === 3 ? bytes.readUInt32BE(100) : 72
  return { backing: { name, format: findBackingFormat(bytes, extensions) } }
}

function findBackingFormat(bytes: Buffer, start: number): string | undefined {
  for (let at = start; at + 8 <= bytes.length; ) {
    const [type, length] = [bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4)]
    if (type === 0) return undefined
    if (type === backingFormatExtension)
      return bytes.toString('latin1', at + 8, at + 8 + Math.min(length, 16))
    at += 8 + Math.ceil(length / 8) * 8
  }
  return undefined
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  const { bytesRead } = await file.read(buffer, 0, length, position)
  return buffer.subarray(0, bytesRead)
}

function bad(path: string, what: string, details: { remedy?: string } = {}): VisorError {
  return new VisorError('failed', `The disk image '${path}' ${what}.`, details)
}
