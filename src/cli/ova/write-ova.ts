/** Writes an OVA: the description comes first, and is written last, when the sizes of the disks are known. */
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import type { VolumeContent } from '../../driver/index.ts'
import { type Progress, VisorError } from '../../model/index.ts'
import { type DescribedDisk, type DescribedMachine, formatOvf } from './format-ovf.ts'
import { manifestLine } from './manifest.ts'
import { blockBytes, tarHeader } from './tar.ts'

export interface ExportedDisk extends Omit<DescribedDisk, 'sizeBytes'> {
  open(signal: AbortSignal): Promise<VolumeContent>
}

export interface ExportedMachine extends Omit<DescribedMachine, 'disks'> {
  readonly disks: readonly ExportedDisk[]
  /** What its files are called. */
  readonly plain: string
}

/** Room for the description: it is filled with line ends, which are nothing in XML. */
const ovfBytes = 128 * blockBytes
const zeros = Buffer.alloc(2 ** 20)

/** Resolves to its size. */
export async function writeOva(
  path: string,
  { disks, plain, ...machine }: ExportedMachine,
  { signal, progress }: { readonly signal: AbortSignal; readonly progress: (progress: Progress) => void },
): Promise<number> {
  const file = await open(path, 'wx', 0o600)
  try {
    let at = blockBytes + ovfBytes
    const lines: string[] = []
    const described: DescribedDisk[] = []
    for (const { open: openDisk, ...disk } of disks) {
      progress({ phase: `converting ${disk.file}` })
      const content = await openDisk(signal)
      const hash = createHash('sha256')
      const start = at + blockBytes
      let end = start
      for await (const part of content) {
        if (part instanceof Uint8Array) {
          await file.write(part, 0, part.length, end)
          hash.update(part)
          end += part.length
        } else {
          for (let left = part.holeBytes; left > 0; left -= zeros.length)
            hash.update(left < zeros.length ? zeros.subarray(0, left) : zeros)
          end += part.holeBytes
        }
        progress({
          phase: `writing ${disk.file}`,
          done: end - start,
          total: content.lengthBytes,
          unit: 'bytes',
        })
      }
      const sizeBytes = end - start
      await file.write(tarHeader(disk.file, sizeBytes), 0, blockBytes, at)
      at = start + Math.ceil(sizeBytes / blockBytes) * blockBytes
      lines.push(manifestLine(disk.file, hash.digest('hex')))
      described.push({ ...disk, sizeBytes })
    }
    const text = Buffer.from(formatOvf({ ...machine, disks: described }))
    if (text.length > ovfBytes)
      throw new VisorError(
        'unsupported-config',
        'The machine has more devices than its description has room for.',
      )
    const ovf = Buffer.concat([text, Buffer.alloc(ovfBytes - text.length, '\n')])
    await file.write(tarHeader(`${plain}.ovf`, ovf.length), 0, blockBytes, 0)
    await file.write(ovf, 0, ovf.length, blockBytes)
    const manifest = Buffer.from(
      manifestLine(`${plain}.ovf`, createHash('sha256').update(ovf).digest('hex')) + lines.join(''),
    )
    await file.write(tarHeader(`${plain}.mf`, manifest.length), 0, blockBytes, at)
    await file.write(manifest, 0, manifest.length, at + blockBytes)
    // Two empty blocks are its end.
    at += blockBytes + Math.ceil(manifest.length / blockBytes) * blockBytes + 2 * blockBytes
    await file.truncate(at)
    await file.sync()
    return at
  } finally {
    await file.close()
  }
}
