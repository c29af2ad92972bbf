import { createHash } from 'node:crypto'

/**
 * The hardware address of a network card of a guest, which stays the same when the definition is applied again;
 * 52:54:00 is that of QEMU's cards.
 */
export function macAddress(uuid: string, index: number): string {
  const hash = createHash('sha256').update(`${uuid}/${index}`).digest()
  return `52:54:00:${[...hash.subarray(0, 3)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`
}
