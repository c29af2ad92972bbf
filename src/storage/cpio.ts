/**
 * The archive an initial RAM disk is: cpio in its "newc" form, as Documentation/driver-api/early-userspace/
 * buffer-format.rst of the Linux kernel describes it.
 */
import { VisorError } from '../model/index.ts'

/** One entry. Parents must come before what is in them. */
export type CpioEntry =
  | { readonly path: string; readonly type: 'directory'; readonly mode?: number }
  | { readonly path: string; readonly type: 'file'; readonly mode?: number; readonly content: Uint8Array }
  | { readonly path: string; readonly type: 'link'; readonly target: string }
  | {
      readonly path: string
      readonly type: 'character-device'
      readonly mode?: number
      readonly major: number
      readonly minor: number
    }

const fileTypes = { directory: 0o040000, file: 0o100000, link: 0o120000, 'character-device': 0o020000 }
const defaultModes = { directory: 0o755, file: 0o644, link: 0o777, 'character-device': 0o600 }
const blockBytes = 512

/**
 * The archive of `entries`, all owned by root and dated 1970, so that the same entries give the same bytes.
 * Fails with `invalid-argument` for a path that is absolute, empty or leaves the archive.
 */
export function formatCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = []
  let inode = 1
  for (const entry of entries) {
    checkPath(entry.path)
    parts.push(...formatEntry(entry, inode++))
  }
  parts.push(...formatRecord('TRAILER!!!', new Uint8Array(0), { inode: 0, mode: 0, major: 0, minor: 0 }))
  const size = parts.reduce((sum, part) => sum + part.length, 0)
  parts.push(Buffer.alloc((blockBytes - (size % blockBytes)) % blockBytes))
  return Buffer.concat(parts)
}

function checkPath(path: string): void {
  const steps = path.split('/')
  if (path.includes('\0') || steps.some((step) => step === '' || step === '.' || step === '..'))
    throw new VisorError('invalid-argument', `'${path}' is not a path inside an archive.`)
}

function formatEntry(entry: CpioEntry, inode: number): Buffer[] {
  const mode =
    fileTypes[entry.type] |
    ('mode' in entry && entry.mode !== undefined ? entry.mode : defaultModes[entry.type])
  const content =
    entry.type === 'file' ? entry.content : Buffer.from(entry.type === 'link' ? entry.target : '')
  const { major, minor } = entry.type === 'character-device' ? entry : { major: 0, minor: 0 }
  return formatRecord(entry.path, content, { inode, mode, major, minor })
}

interface Header {
  readonly inode: number
  readonly mode: number
  readonly major: number
  readonly minor: number
}

function formatRecord(name: string, content: Uint8Array, { inode, mode, major, minor }: Header): Buffer[] {
  const nameBytes = Buffer.from(`${name}\0`)
  const links = 1
  // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
  const fields = [inode, mode, 0, 0, links, 0, content.length, 0, 0, major, minor, nameBytes.length, 0]
  const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`)
  return [
    pad(Buffer.concat([head, nameBytes])),
    pad(Buffer.from(content.buffer, content.byteOffset, content.length)),
  ]
}

function pad(bytes: Buffer): Buffer {
  const missing = (4 - (bytes.length % 4)) % 4
  return missing === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(missing)])
}
