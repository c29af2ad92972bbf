import { open } from 'node:fs/promises'

/** Size that a guest sees of a disk. Source: QEMU's docs/interop/qcow2, header. Undefined when it is none. */
export async function readDiskSize(path: string, format: string): Promise<number | undefined> {
  const file = await open(path)
  try {
    if (format === 'raw') return (await file.stat()).size
    const { buffer, bytesRead } = await file.read(Buffer.alloc(32), 0, 32, 0)
    if (bytesRead < 32 || buffer.readUInt32BE(0) !== 0x514649fb) return undefined
    const size = buffer.readBigUInt64BE(24)
    return size <= Number.MAX_SAFE_INTEGER ? Number(size) : undefined
  } finally {
    await file.close()
  }
}
