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

/** The error as it is when it is a {@link VisorError}, else `internal` with it as the cause. */
export function toVisorError(error: unknown): VisorError {
  if (error instanceof VisorError) return error
  if (error instanceof Error && error.name === 'AbortError')
    return new VisorError('cancelled', 'The operation was cancelled.', { cause: error })
  const message = error instanceof Error ? error.message : String(error)
  return new VisorError('internal', `Unexpected failure: ${message}`, { cause: error })
}

/** `not-found` for a noun. */
export function notFound(kind: string, name: string): VisorError {
  const list = kind === 'domain' ? "'visor list --all'" : `the list of ${kind}s`
  return new VisorError('not-found', `There is no ${kind} '${name}'.`, {
    remedy: `See ${list} for what there is.`,
    object: { kind, name },
  })
}
