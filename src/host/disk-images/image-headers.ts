/**
 * What images say of themselves: what they are based on, and where else they keep their data. Nothing of it is
 * believed that could make QEMU open a file that nobody named. Sources: QEMU's docs/interop/qcow2 and
 * qed_spec, and its block/qcow.c; VMware's "Virtual Disk Format 5.0".
 */
import { VisorError } from '../../model/index.ts'

/** The bytes of an image: an open file, or what was read of it before. */
export interface ImageBytes {
  read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }>
}

export interface ImageHeader {
  readonly backing?: { readonly name: string; readonly format: string | undefined }
  /** Files beside it that hold its data. */
  readonly extents?: readonly string[]
  readonly isEncrypted?: boolean
}

/** The header of an image of this format; formats that refer to no other file have none that matters. */
export async function readImageHeader(file: ImageBytes, path: string, format: string): Promise<ImageHeader> {
  if (format === 'qcow2') return readQcow2(file, path)
  if (format === 'qcow') return readQcow(file, path)
  if (format === 'qed') return readQed(file, path)
  if (format === 'vmdk') return readVmdk(file, path)
  return {}
}

/** The header, its extensions and the name of what it is based on, of most images. */
const headerBytes = 4_096
const qcowMagic = 0x514649fb
const feature = { corrupt: 2n, dataFile: 4n, known: 0x1fn }
const backingFormatExtension = 0xe2792aca

async function readQcow2(file: ImageBytes, path: string): Promise<ImageHeader> {
  const bytes = await readAt(file, 0, headerBytes)
  if (bytes.length < 72 || bytes.readUInt32BE(0) !== qcowMagic) throw notOfFormat(path, 'qcow2')
  const version = bytes.readUInt32BE(4)
  if (version !== 2 && version !== 3) throw badImage(path, `has the unknown qcow2 version ${version}`)
  const method = bytes.readUInt32BE(32)
  if (method !== 0 && method !== 2)
    throw badImage(path, 'is encrypted in an old way that QEMU no longer runs machines with', {
      remedy: "Convert it with 'qemu-img convert' to one that is encrypted with LUKS, or not at all.",
    })
  const features = version === 3 && bytes.length >= 104 ? bytes.readBigUInt64BE(72) : 0n
  if (features & feature.corrupt)
    throw badImage(path, 'is marked as damaged', {
      remedy: `Repair it with 'qemu-img check -r all ${path}'.`,
    })
  if (features & feature.dataFile)
    throw badImage(path, 'keeps its data in another file, which is not supported')
  if (features & ~feature.known) throw badImage(path, 'has features that are not known here')
  const encrypted = method === 2 ? { isEncrypted: true } : {}
  const name = await readName(file, path, bytes.readBigUInt64BE(8), bytes.readUInt32BE(16))
  if (name === undefined) return encrypted
  const start = version === 3 ? bytes.readUInt32BE(100) : 72
  const found = findBackingFormat(bytes, start)
  // They may go on up to the end of the first cluster.
  const format = found === 'cut off' ? findBackingFormat(await readAt(file, 0, 65_536), start) : found
  return { ...encrypted, backing: { name, format: format === 'cut off' ? undefined : format } }
}

async function readQcow(file: ImageBytes, path: string): Promise<ImageHeader> {
  const bytes = await readAt(file, 0, 48)
  if (bytes.length < 48 || bytes.readUInt32BE(0) !== qcowMagic || bytes.readUInt32BE(4) !== 1)
    throw notOfFormat(path, 'qcow')
  if (bytes.readUInt32BE(36) !== 0) throw badImage(path, 'is encrypted in an old way', { remedy: convert })
  const name = await readName(file, path, bytes.readBigUInt64BE(8), bytes.readUInt32BE(16))
  return name === undefined ? {} : { backing: { name, format: undefined } }
}

async function readQed(file: ImageBytes, path: string): Promise<ImageHeader> {
  const bytes = await readAt(file, 0, 64)
  if (bytes.length < 64 || bytes.toString('latin1', 0, 4) !== 'QED\0') throw notOfFormat(path, 'qed')
  const features = bytes.readBigUInt64LE(16)
  if ((features & 1n) === 0n) return {}
  const name = await readName(file, path, BigInt(bytes.readUInt32LE(56)), bytes.readUInt32LE(60))
  // The one format that it can name is raw.
  return name === undefined ? {} : { backing: { name, format: features & 4n ? 'raw' : undefined } }
}

/** The first image of a chain of VMDKs and its description, which is a text in it or is the file itself. */
async function readVmdk(file: ImageBytes, path: string): Promise<ImageHeader> {
  const bytes = await readAt(file, 0, 512)
  const magic = bytes.toString('latin1', 0, 4)
  if (magic === 'COWD' || magic.startsWith('#')) return readDescription(await readAt(file, 0, 20_480), path)
  if (magic !== 'KDMV' || bytes.length < 512) throw notOfFormat(path, 'vmdk')
  const [at, length] = [bytes.readBigUInt64LE(28), bytes.readBigUInt64LE(36)]
  if (at === 0n || length === 0n) return {}
  if (at > 2n ** 30n || length > 40n) throw badImage(path, 'has a broken header')
  return readDescription(await readAt(file, Number(at) * 512, Number(length) * 512), path)
}

function readDescription(bytes: Buffer, path: string): ImageHeader {
  const [text = ''] = bytes.toString('utf8').split('\0')
  const kind = /^\s*createType\s*=\s*"([^"]*)"/imu.exec(text)?.[1] ?? ''
  const outside = !/^(?:monolithicSparse|streamOptimized)$/iu.test(kind)
  const extents = outside
    ? [...text.matchAll(/^\s*(?:RW|RDONLY|NOACCESS)\s+\d+\s+\w+\s+"([^"\n]*)"/gmu)].map(
        ([, name = '']) => name,
      )
    : []
  for (const name of extents)
    if (name.includes('/') || name.includes(':') || name === '')
      throw badImage(path, `keeps its data in '${name}', which is not in its own folder`, { remedy: convert })
  const parent = /^\s*parentFileNameHint\s*=\s*"([^"\n]*)"/imu.exec(text)?.[1]
  const isChild = !/^\s*parentCID\s*=\s*ffffffff\s*$/imu.test(text)
  return {
    ...(extents.length > 0 ? { extents } : {}),
    ...(parent !== undefined && isChild ? { backing: { name: parent, format: 'vmdk' } } : {}),
  }
}

const convert = "Convert it with 'qemu-img convert' to a qcow2 image."

async function readName(
  file: ImageBytes,
  path: string,
  offset: bigint,
  length: number,
): Promise<string | undefined> {
  if (offset === 0n) return undefined
  if (length === 0 || length > 1023 || offset > 2n ** 40n) throw badImage(path, 'has a broken header')
  const name = (await readAt(file, Number(offset), length)).toString('utf8')
  if (name.length === 0 || name.includes('\0')) throw badImage(path, 'has a broken header')
  return name
}

/** Its name; `cut off` when there may be one beyond these bytes. */
function findBackingFormat(bytes: Buffer, start: number): string | undefined {
  for (let at = start; at + 8 <= bytes.length; ) {
    const [type, length] = [bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4)]
    if (type === 0) return undefined
    if (at + 8 + length > bytes.length) break
    if (type === backingFormatExtension)
      return bytes.toString('latin1', at + 8, at + 8 + Math.min(length, 16))
    at += 8 + Math.ceil(length / 8) * 8
  }
  return 'cut off'
}

async function readAt(file: ImageBytes, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length)
  const { bytesRead } = await file.read(buffer, 0, length, position)
  return buffer.subarray(0, bytesRead)
}

function notOfFormat(path: string, format: string): VisorError {
  return badImage(path, `is not in the format ${format}, as the definition says`, {
    remedy: "See its format with 'qemu-img info', and correct the definition.",
  })
}

export function badImage(path: string, what: string, details: { remedy?: string } = {}): VisorError {
  return new VisorError('failed', `The disk image '${path}' ${what}.`, details)
}
