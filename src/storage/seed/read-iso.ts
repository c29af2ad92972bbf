/** Reads volumes that {@link writeIso} wrote: what they say is checked, since a guest's owner may have put others there. */
import { type IsoFile, type IsoLabels, sectorBytes } from './iso9660.ts'

/** The files; undefined for anything else than a whole volume of that form with these labels. */
export function readIso(image: Buffer, labels: IsoLabels): IsoFile[] | undefined {
  const descriptor = image.subarray(17 * sectorBytes, 18 * sectorBytes)
  if (descriptor.length < sectorBytes || descriptor.toString('latin1', 0, 7) !== '\x02CD001\x01')
    return undefined
  if (text(descriptor.subarray(40, 72)) !== labels.volume) return undefined
  if (text(descriptor.subarray(574, 702)) !== labels.application) return undefined
  const root = extent(image, descriptor.subarray(156, 190))
  if (!root || root.length % sectorBytes !== 0) return undefined
  const files: IsoFile[] = []
  for (let at = 0; at < root.length; ) {
    const length = root[at] ?? 0
    if (length === 0) {
      at = (Math.floor(at / sectorBytes) + 1) * sectorBytes
      continue
    }
    const record = root.subarray(at, at + length)
    const name = record.subarray(33, 33 + (record[32] ?? 0))
    const content = extent(image, record)
    if (length < 34 || !content) return undefined
    // One byte are the folder itself and the one above.
    if (name.length > 1) files.push({ name: text(name).replace(/;1$/u, ''), content })
    at += length
  }
  return files
}

/** Where a record says that its content is; undefined when that is not in the image. */
function extent(image: Buffer, record: Buffer): Buffer | undefined {
  if (record.length < 34) return undefined
  const start = record.readUInt32LE(2) * sectorBytes
  const end = start + record.readUInt32LE(10)
  return end <= image.length ? image.subarray(start, end) : undefined
}

function text(bytes: Buffer): string {
  return Buffer.from(bytes.subarray(0, bytes.length & ~1))
    .swap16()
    .toString('utf16le')
    .replace(/ +$/u, '')
}
