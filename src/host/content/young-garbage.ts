/** Frees buffers that went by, soon after. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const everyBytes = 4 * 2 ** 20

let collect: ((options: object) => void) | undefined
let passed = 0

/**
 * Told of bytes that went through buffers of their own, once they are not needed any more. V8 counts such buffers but
 * looks for unused ones only when its own heap is full, or when they are so many that it marks all of it, hundreds of
 * times for a disk. A look at young objects alone takes less than a millisecond, and keeps the buffers few and in the
 * caches of the processor.
 */
export function bytesPassed(bytes: number): void {
  passed += bytes
  if (passed < everyBytes) return
  passed = 0
  collect ??= findCollector()
  collect({ type: 'minor' })
}

/** V8 has no other way to be asked while it runs than the function behind its flag. */
function findCollector(): (options: object) => void {
  setFlagsFromString('--expose-gc')
  const found: unknown = runInNewContext('gc')
  setFlagsFromString('--no-expose-gc')
  return typeof found === 'function' ? (options) => found(options) : () => {}
}
