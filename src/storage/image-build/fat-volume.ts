/**
 * A FAT16 volume with files in folders, as bytes. Names are of the short form, 8.3 in capitals, which is all that the
 * path of a boot loader needs. Source: Microsoft's "FAT: General Overview of On-Disk Format", 1.03.
 */

const sectorBytes = 512
const sectorsPerCluster = 4
const clusterBytes = sectorBytes * sectorsPerCluster
const rootEntries = 512
const rootSectors = (rootEntries * 32) / sectorBytes
const attributes = { volume: 0x08, directory: 0x10, file: 0x20 } as const

export interface FatOptions {
  readonly sectors: number
  /** 32 bits: what Linux shows as the UUID. */
  readonly serial: number
  /** 11 capitals at most. */
  readonly label: string
  /** By path, such as `EFI/BOOT/BOOTX64.EFI`. */
  readonly files: Readonly<Record<string, Uint8Array>>
}

interface Folder {
  readonly folders: Map<string, Folder>
  readonly files: Map<string, Uint8Array>
}

/** Throws a RangeError when the files are too much for the volume, or it is not of a size that is FAT16. */
export function formatFatVolume({ sectors, serial, label, files }: FatOptions): Buffer {
  // Each cluster has 2 bytes in the table; two of them are reserved.
  const fatSectors = Math.ceil(((sectors / sectorsPerCluster + 2) * 2) / sectorBytes)
  const firstData = 1 + 2 * fatSectors + rootSectors
  const clusters = Math.floor((sectors - firstData) / sectorsPerCluster)
  if (clusters < 4085 || clusters >= 65_525) throw new RangeError(`${sectors} sectors are not FAT16`)
  const bytes = Buffer.alloc(sectors * sectorBytes)
  writeBootSector(bytes, { sectors, serial, label, fatSectors })

  const table = new Uint16Array(clusters + 2)
  table.set([0xfff8, 0xffff])
  let next = 2
  const place = (content: Uint8Array): number => {
    const count = Math.max(1, Math.ceil(content.length / clusterBytes))
    const first = next
    next += count
    if (next > clusters + 2) throw new RangeError('the files are too much for the volume')
    for (let cluster = first; cluster < next; cluster++)
      table[cluster] = cluster + 1 === next ? 0xffff : cluster + 1
    bytes.set(content, firstData * sectorBytes + (first - 2) * clusterBytes)
    return first
  }
  /** What is in a folder is placed before the folder that names it, but its entry `.` names where itself is. */
  const placeFolder = (folder: Folder, parent: number): number => {
    const own = place(new Uint8Array(clusterBytes))
    const entries = [entry('.', attributes.directory, own, 0), entry('..', attributes.directory, parent, 0)]
    const content = Buffer.concat([...entries, ...entriesOf(folder, own)])
    if (content.length > clusterBytes) throw new RangeError('a folder has too many files')
    bytes.set(content, firstData * sectorBytes + (own - 2) * clusterBytes)
    return own
  }
  const entriesOf = (folder: Folder, own: number): Buffer[] => [
    ...[...folder.folders].map(([name, one]) => entry(name, attributes.directory, placeFolder(one, own), 0)),
    ...[...folder.files].map(([name, one]) => entry(name, attributes.file, place(one), one.length)),
  ]
  const root = Buffer.concat([volumeEntry(label), ...entriesOf(toTree(files), 0)])
  bytes.set(root, (1 + 2 * fatSectors) * sectorBytes)
  for (const copy of [0, 1])
    table.forEach((value, index) => {
      bytes.writeUInt16LE(value, (1 + copy * fatSectors) * sectorBytes + index * 2)
    })
  return bytes
}

function writeBootSector(
  bytes: Buffer,
  { sectors, serial, label, fatSectors }: Omit<FatOptions, 'files'> & { readonly fatSectors: number },
): void {
  bytes.set([0xeb, 0x3c, 0x90])
  bytes.write('VISOR   ', 3, 'latin1')
  bytes.writeUInt16LE(sectorBytes, 11)
  bytes.writeUInt8(sectorsPerCluster, 13)
  bytes.writeUInt16LE(1, 14)
  bytes.writeUInt8(2, 16)
  bytes.writeUInt16LE(rootEntries, 17)
  bytes.writeUInt16LE(sectors < 0x10000 ? sectors : 0, 19)
  bytes.writeUInt8(0xf8, 21)
  bytes.writeUInt16LE(fatSectors, 22)
  bytes.writeUInt16LE(63, 24)
  bytes.writeUInt16LE(255, 26)
  bytes.writeUInt32LE(sectors < 0x10000 ? 0 : sectors, 32)
  bytes.writeUInt8(0x80, 36)
  bytes.writeUInt8(0x29, 38)
  bytes.writeUInt32LE(serial, 39)
  bytes.write(label.padEnd(11).slice(0, 11), 43, 'latin1')
  bytes.write('FAT16   ', 54, 'latin1')
  bytes.writeUInt16LE(0xaa55, 510)
}

function toTree(files: FatOptions['files']): Folder {
  const root: Folder = { folders: new Map(), files: new Map() }
  for (const [path, content] of Object.entries(files)) {
    const parts = path.split('/')
    const name = parts.pop() ?? ''
    let folder = root
    for (const part of parts) {
      const there: Folder = folder.folders.get(part) ?? { folders: new Map(), files: new Map() }
      folder.folders.set(part, there)
      folder = there
    }
    folder.files.set(name, content)
  }
  return root
}

/** Of 1980-01-01: the format knows no time before. */
function entry(name: string, attribute: number, cluster: number, size: number): Buffer {
  const [base = '', extension = ''] = /^\.{1,2}$/u.test(name) ? [name] : name.split('.')
  if (base.length > 8 || extension.length > 3) throw new RangeError(`'${name}' is no short name`)
  return rawEntry(base.padEnd(8) + extension.padEnd(3), attribute, cluster, size)
}

function volumeEntry(label: string): Buffer {
  return rawEntry(label.padEnd(11).slice(0, 11), attributes.volume, 0, 0)
}

function rawEntry(name: string, attribute: number, cluster: number, size: number): Buffer {
  const bytes = Buffer.alloc(32)
  bytes.write(name, 0, 'latin1')
  bytes.writeUInt8(attribute, 11)
  const firstDay = 0x0021
  for (const at of [16, 18, 24]) bytes.writeUInt16LE(firstDay, at)
  bytes.writeUInt16LE(cluster, 26)
  bytes.writeUInt32LE(size, 28)
  return bytes
}
