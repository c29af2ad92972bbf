import type { Access, CompleteConnection } from '../../driver/index.ts'

/** How a request came in; what the listener knows and the request does not say. */
export interface RestContext {
  readonly transport: 'unix' | 'tcp'
  /** Whether the way is encrypted, so that cookies may insist on it. */
  readonly secure?: boolean
  /** The bytes that the request brings, read directly: its own `body` must not be touched then. */
  readonly body?: AsyncIterable<Uint8Array>
  /** The process at the other end of a unix socket, as the kernel says. */
  readonly peer?: { readonly pid: number; readonly uid: number; readonly gid: number }
}

/** Who asks, and what they may. */
export interface Identity {
  readonly name: string
  readonly access: Access
}

/** One request on its way to its answer. */
export interface Call {
  readonly request: Request
  readonly url: URL
  readonly context: RestContext
  readonly parameters: Readonly<Record<string, string>>
  readonly identity: Identity
  /** What this identity may do; what it may not fails with `denied`. */
  readonly connection: CompleteConnection
  readonly bodyLimitBytes: number
}

export type Handler = (call: Call) => Promise<Response>
