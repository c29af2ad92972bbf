/**
 * The one error of visor. Front doors translate codes, never messages.
 */

/** Every kind of failure, and how the front doors spell it: HTTP status, libvirt's error number. */
export const errorCodes = {
  'not-found': { http: 404, libvirt: 42 },
  'already-exists': { http: 409, libvirt: 9 },
  'invalid-argument': { http: 400, libvirt: 8 },
  'invalid-definition': { http: 400, libvirt: 27 },
  'invalid-state': { http: 409, libvirt: 55 },
  unsupported: { http: 501, libvirt: 3 },
  'unsupported-config': { http: 422, libvirt: 67 },
  unauthenticated: { http: 401, libvirt: 45 },
  denied: { http: 403, libvirt: 88 },
  conflict: { http: 412, libvirt: 9 },
  busy: { http: 409, libvirt: 87 },
  timeout: { http: 504, libvirt: 68 },
  cancelled: { http: 499, libvirt: 78 },
  unavailable: { http: 503, libvirt: 38 },
  failed: { http: 502, libvirt: 1 },
  internal: { http: 500, libvirt: 1 },
} as const

export type ErrorCode = keyof typeof errorCodes

/** One of several things wrong with a document; `path`, `line` and `column` as in {@link ErrorDetails}. */
export interface Issue {
  readonly path: string
  readonly message: string
  readonly line?: number
  readonly column?: number
}

/** What an error is about; all parts optional. */
export interface ErrorDetails {
  /** What to do about it, a sentence; shown on a line of its own. */
  readonly remedy?: string | undefined
  /** The original error. */
  readonly cause?: unknown
  /** Where in a document: line and column count from 1, `path` is like `devices.disks[1].source`. */
  readonly line?: number | undefined
  readonly column?: number | undefined
  readonly path?: string | undefined
  /** The object: its kind and name or uuid. */
  readonly object?: { readonly kind: string; readonly name: string } | undefined
  /** Everything that is wrong with a document, the first ones of many. */
  readonly issues?: readonly Issue[] | undefined
}

/**
 * A failure with a code from a closed set. `message` is a sentence that names the object; `remedy`, where
 * one exists, says what to do.
 */
export class VisorError extends Error {
  override readonly name = 'VisorError'
  readonly code: ErrorCode
  readonly remedy: string | undefined
  readonly line: number | undefined
  readonly column: number | undefined
  readonly path: string | undefined
  readonly object: { readonly kind: string; readonly name: string } | undefined
  readonly issues: readonly Issue[] | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.remedy = details.remedy
    this.line = details.line
    this.column = details.column
    this.path = details.path
    this.object = details.object
    this.issues = details.issues
  }

  /** The error as JSON, for a wire or a log; never the stack. */
  toJSON(): Record<string, unknown> {
    const { code, message, remedy, line, column, path, object, issues } = this
    return { code, message, remedy, line, column, path, object, issues }
  }
}

/** What a host lacks, by errno(3), and what to do. */
const hostLimits = new Map([
  ['ENOSPC', 'Make room on the file system that it is about.'],
  ['EDQUOT', 'Make room, or raise the quota of the user.'],
  ['EROFS', 'Mount the file system so that it can be written.'],
  ['EIO', "See what the kernel says of the device ('dmesg')."],
  ['EMFILE', 'Raise the number of files that visord may have open.'],
  ['ENFILE', 'Raise the number of files that the host may have open.'],
  ['ENOMEM', 'Free memory of the host.'],
])

/** The error as it is when it is a {@link VisorError}, else `failed` for what the host lacks, and `internal` for all that was not foreseen, with it as the cause. */
export function toVisorError(error: unknown): VisorError {
  if (error instanceof VisorError) return error
  if (error instanceof Error && error.name === 'AbortError')
    return new VisorError('cancelled', 'The operation was cancelled.', { cause: error })
  const message = error instanceof Error ? error.message : String(error)
  const host = error instanceof Error && 'code' in error ? hostLimits.get(String(error.code)) : undefined
  if (host) return new VisorError('failed', `The host: ${message}.`, { remedy: host, cause: error })
  return new VisorError('internal', `Unexpected failure: ${message}`, { cause: error })
}

/** The commands that list what there is of a kind. */
const listedBy = new Map([
  ['domain', "'visor list --all'"],
  ['template', "'visor template list'"],
])

/** `not-found` for a noun. */
export function notFound(kind: string, name: string): VisorError {
  const list = listedBy.get(kind) ?? `the list of ${kind}s`
  return new VisorError('not-found', `There is no ${kind} '${name}'.`, {
    remedy: `See ${list} for what there is.`,
    object: { kind, name },
  })
}
