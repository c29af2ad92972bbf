/** Holes of files: what was never written, and takes no room. */
import { loadCalls } from './syscall.ts'

// From <unistd.h>, <errno.h> and <linux/falloc.h>.
const SEEK_DATA = 3
const SEEK_HOLE = 4
const ENXIO = 6
const FALLOC_FL_KEEP_SIZE = 1
const FALLOC_FL_PUNCH_HOLE = 2

/** A part of a file that is all data, or none. */
export interface Extent {
  readonly offset: number
  readonly length: number
  readonly isHole: boolean
}

/**
 * What lies at `offset` of an open file, and up to where; it ends at `end` at the latest. All is data where the file
 * system knows no holes. Source: lseek(2).
 */
export async function extentAt(fd: number, offset: number, end: number): Promise<Extent> {
  const { lseek, errno } = await loadCalls()
  const data = lseek(fd, offset, SEEK_DATA)
  if (data < 0) return { offset, length: end - offset, isHole: errno() === ENXIO }
  if (data > offset) return { offset, length: Math.min(data, end) - offset, isHole: true }
  const hole = lseek(fd, offset, SEEK_HOLE)
  return { offset, length: (hole < 0 ? end : Math.min(hole, end)) - offset, isHole: false }
}

/** Makes a part of an open file a hole, so that it is read as zeros; false where the file system cannot. */
export async function punchHole(fd: number, offset: number, length: number): Promise<boolean> {
  const { fallocate } = await loadCalls()
  return (await fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length)) === 0
}
