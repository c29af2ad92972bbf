/** What the table of operations says about one. */
import type { schema as s } from '../model/index.ts'

/** Who may: look, change what there is, change the host. */
export type Access = 'read' | 'write' | 'admin'

export interface Operation {
  readonly access: Access
  /** A sentence: what it does. */
  readonly doc: string
  /** The noun whose key is the first argument. */
  readonly key?:
    | 'domain'
    | 'image'
    | 'pool'
    | 'secret'
    | 'schedule'
    | 'job'
    | 'template'
    | 'migration'
    | 'network'
    | 'nwfilter'
    | 'hostBridge'
    | 'group'
    | 'publication'
  /** The noun within that one whose name is the second argument. */
  readonly item?: 'snapshot' | 'checkpoint' | 'volume' | 'upload'
  /** The argument after the keys (or the first): a whole document, or the bytes of a volume. */
  readonly body?: s.Schema | 'content'
  /** The options object, last argument, less `signal` and `progress`. */
  readonly options?: s.ObjectSchema<never, never> | s.Schema
  /** The option that names a domain, by uuid or name; drivers get the uuid. */
  readonly refersTo?: string
  /** What it resolves to: a document, nothing, or something that is not JSON. */
  readonly result?: s.Schema | 'picture' | 'bytes' | 'text' | 'stream' | 'content'
  /** Takes time: REST answers at once with a job. */
  readonly long?: true
  /** Does not wait for the domain's jobs under way but cancels them first. */
  readonly interrupts?: true
  /** Waits for no other and is waited for by none: the driver sees to what must not happen at once. */
  readonly parallel?: true
  /** Waits only for others of the same lane on the domain; without it, of the lane of all that have none. */
  readonly lane?: 'agent' | 'block' | 'control'
}

/** Rows for every method of a part: the compiler holds the table complete. */
export type PartTable<P> = { readonly [M in keyof Required<P>]-?: Operation }
