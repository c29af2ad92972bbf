/**
 * The tar that an OVA is: plain files of plain names, one after another. Nothing is unpacked: files are read where they
 * lie. Sources: POSIX.1-1988 (ustar), tar(5); GNU tar's base-256 for sizes from 8 GiB.
 */
import { VisorError } from '../../model/index.ts'

export const blockBytes = 512
const limits = { entries: 1_000, nameLength: 255 }

export interface TarEntry {
  readonly name: string
  /** Where its bytes begin. */
  readonly offset: number
  readonly sizeBytes: number
}

/** What is read of a file. */
export interface TarBytes {
  read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }>
}

/** The files in it, in order. Fails with `invalid-argument` for what is no tar, cut off, or of names that lead elsewhere. */
export async function listTar(file: TarBytes, fileBytes: number, path: string): Promise<TarEntry[]> {
  const entries: TarEntry[] = []
  const names = new Set<string>()
  for (let at = 0; at + blockBytes <= fileBytes; ) {
    const { buffer, bytesRead } = await readBlock(file, at)
    if (bytesRead < blockBytes || buffer.every((byte) => byte === 0)) break
    if (!hasChecksum(buffer)) throw refused(path, entries.length === 0 ? 'it is no tar' : 'it is damaged')
    const kind = String.fromCharCode(buffer[156] ?? 0)
    const sizeBytes = readNumber(buffer, 124, 12)
    const offset = at + blockBytes
    if (sizeBytes === undefined || offset + sizeBytes > fileBytes) throw refused(path, 'it is cut off')
    at = offset + Math.ceil(sizeBytes / blockBytes) * blockBytes
    if (kind === 'x' || kind === 'g') {
      await refuseOverride(file, offset, sizeBytes, path)
      continue
    }
    const name = readText(buffer, 0, 100)
    const prefix = buffer.toString('latin1', 257, 262) === 'ustar' ? readText(buffer, 345, 155) : ''
    if (kind !== '0' && kind !== '\0') throw refused(path, `'${name.slice(0, 100)}' in it is no plain file`)
    if (prefix !== '' || !isPlainName(name))
      throw refused(
        path,
        `it has a file of the name '${`${prefix}/${name}`.slice(0, 100)}', which is no plain one`,
      )
    if (names.has(name)) throw refused(path, `it has '${name}' twice`)
    if (entries.length >= limits.entries) throw refused(path, `it has more than ${limits.entries} files`)
    names.add(name)
    entries.push({ name, offset, sizeBytes })
  }
  if (entries.length === 0) throw refused(path, 'it is no tar')
  return entries
}

/** A name of a file and nothing else: not of a folder, nor of a place above. */
export const isPlainName = (name: string): boolean =>
  name !== '' &&
  name.length <= limits.nameLength &&
  name !== '.' &&
  name !== '..' &&
  !/[/\\\p{Cc}\ufffd]/u.test(name)

/** The header of a plain file. */
export function tarHeader(name: string, sizeBytes: number, now = new Date()): Buffer {
  const header = Buffer.alloc(blockBytes)
  if (Buffer.byteLength(name) > 100 || !isPlainName(name)) throw new TypeError(`no name in a tar: ${name}`)
  header.write(name, 0, 'utf8')
  header.write('0000644\0', 100, 'latin1')
  header.write('0000000\0', 108, 'latin1')
  header.write('0000000\0', 116, 'latin1')
  if (sizeBytes < 8 ** 11) header.write(`${sizeBytes.toString(8).padStart(11, '0')}\0`, 124, 'latin1')
  else {
    header.writeUInt8(0x80, 124)
    header.writeBigUInt64BE(BigInt(sizeBytes), 128)
  }
  header.write(
    `${Math.floor(now.getTime() / 1000)
      .toString(8)
      .padStart(11, '0')}\0`,
    136,
    'latin1',
  )
  header.write('0', 156, 'latin1')
  header.write('ustar\x0000', 257, 'latin1')
  header.write(`${sumOf(header).toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return header
}

const readBlock = async (file: TarBytes, position: number) => {
  const buffer = Buffer.alloc(blockBytes)
  const { bytesRead } = await file.read(buffer, 0, blockBytes, position)
  return { buffer, bytesRead }
}

/** The sum counts its own field as spaces. */
function sumOf(header: Buffer): number {
  return header.reduce((sum, byte, index) => sum + (index >= 148 && index < 156 ? 32 : byte), 0)
}

const hasChecksum = (header: Buffer): boolean => readNumber(header, 148, 8) === sumOf(header)

function readNumber(header: Buffer, start: number, length: number): number | undefined {
  const first = header[start] ?? 0
  if (first & 0x80) {
    const value = header.readBigUInt64BE(start + length - 8)
    const rest = header.subarray(start + 1, start + length - 8)
    return first === 0x80 && rest.every((byte) => byte === 0) && value <= Number.MAX_SAFE_INTEGER
      ? Number(value)
      : undefined
  }
  const text = readText(header, start, length).trim()
  return /^[0-7]{1,12}$/u.test(text) ? Number.parseInt(text, 8) : undefined
}

function readText(header: Buffer, start: number, length: number): string {
  const field = header.subarray(start, start + length)
  const end = field.indexOf(0)
  return field.toString('utf8', 0, end < 0 ? length : end)
}

/** Extended headers may say more of a file, but not that it is another one. */
async function refuseOverride(
  file: TarBytes,
  offset: number,
  sizeBytes: number,
  path: string,
): Promise<void> {
  if (sizeBytes > 65_536) throw refused(path, 'it has an extended header that is too long')
  const buffer = Buffer.alloc(sizeBytes)
  await file.read(buffer, 0, sizeBytes, offset)
  if (/(?:^|\n)\d+ (?:path|size|linkpath|GNU\.sparse[\w.]*)=/u.test(buffer.toString('utf8')))
    throw refused(path, 'it has names or sizes in extended headers, which no OVA has')
}

function refused(path: string, why: string): VisorError {
  return new VisorError('invalid-argument', `'${path}' is no OVA that can be read: ${why}.`, {
    remedy: 'Get it again, or export it anew where it is from.',
  })
}
