/** The directories visord works in. */
import { lstatSync, mkdirSync } from 'node:fs'
import { VisorError } from '../model/index.ts'

/**
 * Makes a directory that only we may write, or sees that the one there is such: whoever could write it could
 * put sockets and files of theirs in the place of ours.
 */
export function claimDirectory(path: string, mode: number): void {
  try {
    mkdirSync(path, { recursive: true, mode })
  } catch (cause) {
    throw unusable(path, cause instanceof Error ? cause.message : String(cause), cause)
  }
  const { uid, mode: found } = lstatSync(path)
  if ((found & 0o170000) !== 0o040000) throw unusable(path, 'it is no directory')
  if (uid !== process.getuid?.()) throw unusable(path, `it belongs to the user with uid ${uid}`)
  if (found & 0o002 || (found & 0o020 && (mode & 0o020) === 0))
    throw unusable(path, `others may write to it (mode ${(found & 0o7777).toString(8)})`)
}

function unusable(path: string, why: string, cause?: unknown): VisorError {
  return new VisorError('unavailable', `The directory '${path}' cannot be used: ${why}.`, {
    cause,
    remedy: 'Correct its owner and permissions, or choose another (--state-dir, --runtime-dir).',
  })
}
