/** The file that says where a visord is to be found; it is there while it is usable. */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ProcessIdentity } from './process.ts'

export interface Presence extends ProcessIdentity {
  readonly version: string
  readonly socket: string
  /** Address of HTTP over TCP, where it is served. */
  readonly url?: string
  readonly tokenFile: string
  /** Where names of guests are answered, or why not; absent where nobody wants it, or it has no networks. */
  readonly names?: {
    readonly address: string
    readonly port: number
    readonly problem?: string
    readonly remedy?: string
  }
}

function presenceFile(runtimeDirectory: string): string {
  return join(runtimeDirectory, 'visord.json')
}

/** Says it: readers find all of it or nothing. */
export function writePresence(runtimeDirectory: string, presence: Presence): void {
  const file = presenceFile(runtimeDirectory)
  writeFileSync(`${file}.new`, `${JSON.stringify(presence)}\n`, { mode: 0o644 })
  renameSync(`${file}.new`, file)
}

/** What the visord of this runtime directory said; undefined when there is none. It may have died since. */
export function readPresence(runtimeDirectory: string): Presence | undefined {
  try {
    return JSON.parse(readFileSync(presenceFile(runtimeDirectory), 'utf8')) as Presence
  } catch {
    return undefined
  }
}

export function removePresence(runtimeDirectory: string): void {
  rmSync(presenceFile(runtimeDirectory), { force: true })
}
