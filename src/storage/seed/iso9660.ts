/**
 * Volumes of ISO 9660 for the few small files of a first boot, with long names by Rock Ridge and by Joliet. The same
 * files give the same bytes.
 *
 * Sources: ECMA-119; the Joliet specification; IEEE P1281 (SUSP) and P1282 (RRIP).
 *
 *     0-15 system area (zero) | 16 primary | 17 Joliet | 18 end | 19-22 path tables | directories | files
 */
export const sectorBytes = 2048
const firstDirectory = 23
const mostFiles = 64
const mostBytes = 8 * 2 ** 20

export interface IsoFile {
  /** Printable ASCII without a slash, at most 64 characters. */
  readonly name: string
  readonly content: Uint8Array
}

export interface IsoLabels {
  /** Label of the volume, by which guests find it. */
  readonly volume: string
  /** What made it. */
  readonly application: string
}

/** Fails with `RangeError` for names, numbers and sizes beyond what is said above. */
export function writeIso(files: readonly IsoFile[], labels: IsoLabels): Buffer {
  checkFiles(files)
  const names = plainNames(files.map(({ name }) => name))
  const sorted = files.map((file, index) => ({ ...file, plain: names[index] ?? '' }))
  const primary = directory(firstDirectory, sorted, {
    nameOf: ({ plain }) => Buffer.from(`${plain};1`, 'latin1'),
    extraOf: ({ name }) => Buffer.concat([posix(0o100400, 1), alternateName(name)]),
    // Rock Ridge begins in the entry of the root for itself.
    own: Buffer.concat([sharing, posix(0o040500, 2), rockRidge]),
    parent: posix(0o040500, 2),
  })
  const jolietStart = firstDirectory + primary.sectors
  const joliet = directory(jolietStart, sorted, {
    nameOf: ({ name }) => bigEndianText(`${name};1`),
    extraOf: () => none,
    own: none,
    parent: none,
  })
  const firstFile = jolietStart + joliet.sectors
  const extents = new Map<string, number>()
  let next = firstFile
  for (const { name, content } of files) {
    extents.set(name, next)
    next += sectorsOf(content.length)
  }
  // Some readers read ahead in steps of 64 KiB.
  const image = Buffer.alloc(Math.ceil(next / 32) * 32 * sectorBytes)
  const put = (sector: number, bytes: Uint8Array) => image.set(bytes, sector * sectorBytes)
  const sectors = image.length / sectorBytes
  put(16, descriptor(1, labels, { sectors, root: primary, tables: 19 }))
  put(17, descriptor(2, labels, { sectors, root: joliet, tables: 21 }))
  put(18, Buffer.from([255, ...Buffer.from('CD001'), 1]))
  put(19, pathTable(primary.start, 'LE'))
  put(20, pathTable(primary.start, 'BE'))
  put(21, pathTable(joliet.start, 'LE'))
  put(22, pathTable(joliet.start, 'BE'))
  put(primary.start, primary.write(extents))
  put(joliet.start, joliet.write(extents))
  for (const { name, content } of files) put(extents.get(name) ?? 0, content)
  return image
}

const none = Buffer.alloc(0)
const sectorsOf = (bytes: number): number => Math.ceil(bytes / sectorBytes)

function checkFiles(files: readonly IsoFile[]): void {
  const names = new Set(files.map(({ name }) => name))
  if (files.length > mostFiles || names.size < files.length)
    throw new RangeError('The files are too many, or two of them have one name.')
  for (const name of names)
    if (!/^[!-~]{1,64}$/u.test(name) || /[/;]/u.test(name) || name === '.' || name === '..')
      throw new RangeError(`The name '${name}' cannot be written.`)
  if (files.reduce((sum, { content }) => sum + content.length, 0) > mostBytes)
    throw new RangeError(`The files have more than ${mostBytes} bytes.`)
}

/** Names of capital letters, digits and underscores, of at most eight, as all readers know them; one of a kind. */
function plainNames(names: readonly string[]): string[] {
  const taken = new Set<string>()
  return names.map((name) => {
    const stem = name
      .toUpperCase()
      .replace(/[^A-Z0-9]/gu, '_')
      .slice(0, 8)
    let plain = stem
    for (let number = 1; taken.has(plain); number++) plain = stem.slice(0, 8 - `${number}`.length) + number
    taken.add(plain)
    return `${plain}.`
  })
}

interface Entry extends IsoFile {
  readonly plain: string
}

interface DirectoryForm {
  readonly nameOf: (file: Entry) => Buffer
  readonly extraOf: (file: Entry) => Buffer
  readonly own: Buffer
  readonly parent: Buffer
}

interface Directory {
  readonly start: number
  readonly sectors: number
  readonly write: (extents: ReadonlyMap<string, number>) => Buffer
}

/** The root, which has all files. Source: ECMA-119, 6.8: no record crosses the end of a sector; 9.3: their order. */
function directory(start: number, files: readonly Entry[], form: DirectoryForm): Directory {
  const entries = files
    .map((file) => ({ file, name: form.nameOf(file) }))
    .sort((one, other) => Buffer.compare(one.name, other.name))
  const write = (sectors: number, extents: ReadonlyMap<string, number>): Buffer => {
    const self = { extent: start, bytes: sectors * sectorBytes, isDirectory: true }
    return packRecords([
      record(Buffer.from([0]), self, form.own),
      record(Buffer.from([1]), self, form.parent),
      ...entries.map(({ file, name }) => {
        const place = { extent: extents.get(file.name) ?? 0, bytes: file.content.length, isDirectory: false }
        return record(name, place, form.extraOf(file))
      }),
    ])
  }
  const sectors = sectorsOf(write(1, new Map()).length)
  return { start, sectors, write: (extents) => write(sectors, extents) }
}

function packRecords(records: readonly Buffer[]): Buffer {
  const parts: Buffer[] = []
  let length = 0
  const add = (bytes: Buffer) => {
    parts.push(bytes)
    length += bytes.length
  }
  for (const one of records) {
    const left = sectorBytes - (length % sectorBytes)
    if (one.length > left) add(Buffer.alloc(left))
    add(one)
  }
  add(Buffer.alloc((sectorBytes - (length % sectorBytes)) % sectorBytes))
  return Buffer.concat(parts)
}

interface Place {
  readonly extent: number
  readonly bytes: number
  readonly isDirectory: boolean
}

/** The first moment of 2000, in UTC. Source: ECMA-119, 9.1.5. */
const recordedAt = Buffer.from([100, 1, 1, 0, 0, 0, 0])

/** Source: ECMA-119, 9.1. */
function record(name: Buffer, { extent, bytes, isDirectory }: Place, extra: Buffer): Buffer {
  const padded = name.length % 2 === 0 ? 1 : 0
  const body = Buffer.concat([
    both32(extent),
    both32(bytes),
    recordedAt,
    Buffer.from([isDirectory ? 2 : 0, 0, 0]),
    both16(1),
    Buffer.from([name.length]),
    name,
    Buffer.alloc(padded),
    extra,
    Buffer.alloc(extra.length % 2),
  ])
  return Buffer.concat([Buffer.from([body.length + 2, 0]), body])
}

/** Numbers stand there twice, in both orders of bytes. Source: ECMA-119, 7.2.3 and 7.3.3. */
function both16(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt16LE(value)
  bytes.writeUInt16BE(value, 2)
  return bytes
}

function both32(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32LE(value)
  bytes.writeUInt32BE(value, 4)
  return bytes
}

interface Shape {
  readonly sectors: number
  readonly root: Directory
  readonly tables: number
}

/** A volume descriptor, primary (1) or of Joliet (2). Source: ECMA-119, 8.4 and 8.5; Joliet: level 3. */
function descriptor(type: 1 | 2, labels: IsoLabels, { sectors, root, tables }: Shape): Buffer {
  const bytes = Buffer.alloc(sectorBytes)
  const text = (value: string, offset: number, length: number) => {
    const filler = type === 1 ? Buffer.from(' ') : Buffer.from([0, 0x20])
    bytes.fill(filler, offset, offset + length)
    const encoded = type === 1 ? Buffer.from(value, 'latin1') : bigEndianText(value)
    encoded.copy(bytes, offset, 0, Math.min(encoded.length, length))
  }
  bytes[0] = type
  bytes.write('CD001', 1, 'latin1')
  bytes[6] = 1
  text('', 8, 32)
  text(labels.volume, 40, 32)
  both32(sectors).copy(bytes, 80)
  if (type === 2) bytes.write('%/E', 88, 'latin1')
  both16(1).copy(bytes, 120)
  both16(1).copy(bytes, 124)
  both16(sectorBytes).copy(bytes, 128)
  both32(pathTableBytes).copy(bytes, 132)
  bytes.writeUInt32LE(tables, 140)
  bytes.writeUInt32BE(tables + 1, 148)
  const place = { extent: root.start, bytes: root.sectors * sectorBytes, isDirectory: true }
  record(Buffer.from([0]), place, none).copy(bytes, 156)
  for (const offset of [190, 318, 446]) text('', offset, 128)
  text(labels.application, 574, 128)
  for (const offset of [702, 739, 776]) text('', offset, 37)
  // Made at a moment that is not said: sixteen digits and a zone.
  for (const offset of [813, 830, 847, 864]) bytes.fill('0', offset, offset + 16, 'latin1')
  bytes[881] = 1
  return bytes
}

const pathTableBytes = 10

/** The root alone. Source: ECMA-119, 9.4. */
function pathTable(extent: number, order: 'LE' | 'BE'): Buffer {
  const bytes = Buffer.alloc(pathTableBytes)
  bytes[0] = 1
  if (order === 'LE') {
    bytes.writeUInt32LE(extent, 2)
    bytes.writeUInt16LE(1, 6)
  } else {
    bytes.writeUInt32BE(extent, 2)
    bytes.writeUInt16BE(1, 6)
  }
  return bytes
}

function bigEndianText(text: string): Buffer {
  return Buffer.from(text, 'utf16le').swap16()
}

/** An entry of the System Use Sharing Protocol: two letters, its length, its version, what it says. */
function systemUse(name: string, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from(name, 'latin1'), Buffer.from([content.length + 4, 1]), content])
}

/** Source: SUSP, 5.3: that there are such entries. */
const sharing = systemUse('SP', Buffer.from([0xbe, 0xef, 0]))
/** Source: SUSP, 5.5: whose they are. */
const rockRidge = systemUse('ER', Buffer.from('\x0a\0\0\x01RRIP_1991A', 'latin1'))
/** Source: RRIP, 4.1.1: mode, links, user and group; only root reads what may be a secret. */
const posix = (mode: number, links: number): Buffer =>
  systemUse('PX', Buffer.concat([both32(mode), both32(links), both32(0), both32(0)]))
/** Source: RRIP, 4.1.4. */
const alternateName = (name: string): Buffer => systemUse('NM', Buffer.from(`\0${name}`, 'latin1'))
