/** What is asked of the agent in a guest. Source: QEMU's guest agent protocol reference. */
import {
  GuestFilesystem,
  GuestInfo,
  GuestInterface,
  GuestProgram,
  GuestUser,
  schema as s,
} from '../../model/index.ts'
import type { CallOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

export interface ExecOptions extends CallOptions {
  /** Program, as a path in the guest or a name in its PATH. */
  readonly program: string
  readonly args?: readonly string[]
  /** `NAME=value` */
  readonly env?: readonly string[]
  /** Its standard input, base64. */
  readonly stdin?: string
  /** Given up after; the program is not ended by that. */
  readonly timeoutMs?: number
}

/** The agent in a running guest; all fail with `unavailable` when it does not answer. */
export interface Agent {
  info(domain: string): Promise<GuestInfo>
  interfaces(domain: string): Promise<GuestInterface[]>
  filesystems(domain: string): Promise<GuestFilesystem[]>
  users(domain: string): Promise<GuestUser[]>
  /** Runs a program in the guest; resolves when it has ended. */
  exec?(domain: string, options: ExecOptions): Promise<GuestProgram>
  /** A file of the guest, at most `maxBytes` of it; from its beginning, or from the byte `offset` on. */
  readFile?(
    domain: string,
    options: { readonly path: string; readonly maxBytes?: number; readonly offset?: number },
  ): Promise<Uint8Array>
  writeFile?(
    domain: string,
    options: { readonly path: string; readonly content: string; readonly append?: boolean } & CallOptions,
  ): Promise<void>
  /** Freezes its file systems, so that disks are whole; resolves with how many. They thaw by themselves after `timeoutMs`. */
  freeze?(
    domain: string,
    options?: { readonly mountPoints?: readonly string[]; readonly timeoutMs?: number } & CallOptions,
  ): Promise<number>
  thaw?(domain: string, options?: CallOptions): Promise<number>
  /** Gives blocks that are not in use back to the disks. */
  trim?(domain: string, options?: { readonly minimumBytes?: number } & CallOptions): Promise<void>
  /** Sets the guest's clock; to the host's time without `timeMs`. */
  setTime?(domain: string, options?: { readonly timeMs?: number } & CallOptions): Promise<void>
  setPassword?(
    domain: string,
    options: { readonly user: string; readonly password: string; readonly crypted?: boolean } & CallOptions,
  ): Promise<void>
}

const guestPath = s.string('path in the guest', { minLength: 1, maxLength: 4096 })
const texts = (doc: string) =>
  s.array(doc, s.string('text', { maxLength: 65_536 }), { optional: true, maxItems: 1024 })

export const agentOperations = {
  info: { access: 'read', doc: 'What the agent says of the guest.', key: 'domain', result: GuestInfo },
  interfaces: {
    access: 'read',
    doc: 'The network interfaces as the guest has them.',
    key: 'domain',
    result: s.array('interfaces', GuestInterface),
  },
  filesystems: {
    access: 'read',
    doc: 'The mounted file systems of the guest.',
    key: 'domain',
    result: s.array('file systems', GuestFilesystem),
  },
  users: {
    access: 'read',
    doc: 'Who is logged in to the guest.',
    key: 'domain',
    result: s.array('users', GuestUser),
  },
  exec: {
    access: 'write',
    doc: 'Runs a program in the guest.',
    key: 'domain',
    lane: 'agent',
    options: s.object('ExecInGuest', 'What', {
      program: guestPath,
      args: texts('arguments'),
      env: texts('environment, NAME=value'),
      stdin: s.string('standard input, base64', { optional: true, maxLength: 2 ** 20 }),
      timeoutMs: s.integer('given up after, milliseconds', { optional: true, min: 1, max: 86_400_000 }),
    }),
    result: GuestProgram,
  },
  readFile: {
    access: 'write',
    doc: 'Reads a file of the guest.',
    key: 'domain',
    lane: 'agent',
    options: s.object('ReadGuestFile', 'Which', {
      path: guestPath,
      maxBytes: s.integer('at most', { optional: true, min: 0, max: 2 ** 30 }),
      offset: s.integer('from this byte on', { optional: true, min: 0, max: 2 ** 52 }),
    }),
    result: 'bytes',
  },
  writeFile: {
    access: 'write',
    doc: 'Writes a file of the guest.',
    key: 'domain',
    lane: 'agent',
    options: s.object('WriteGuestFile', 'What', {
      path: guestPath,
      content: s.string('what is written, base64', { maxLength: 2 ** 26 }),
      append: s.boolean('at the end of what is there', { optional: true }),
    }),
  },
  freeze: {
    access: 'write',
    doc: 'Freezes the file systems of the guest.',
    key: 'domain',
    lane: 'agent',
    options: s.object('FreezeGuest', 'Which', {
      mountPoints: texts('only these'),
      timeoutMs: s.integer('thawed after, milliseconds', { optional: true, min: 1, max: 3_600_000 }),
    }),
    result: s.integer('how many'),
  },
  thaw: {
    access: 'write',
    doc: 'Thaws the file systems of the guest.',
    key: 'domain',
    lane: 'agent',
    result: s.integer('how many'),
  },
  trim: {
    access: 'write',
    doc: 'Gives blocks that are not in use back to the disks.',
    key: 'domain',
    lane: 'agent',
    options: s.object('TrimGuest', 'How', {
      minimumBytes: s.integer('only ranges of at least so many bytes', { optional: true, min: 0 }),
    }),
  },
  setTime: {
    access: 'write',
    doc: "Sets the guest's clock.",
    key: 'domain',
    lane: 'agent',
    options: s.object('SetGuestTime', 'To what', {
      timeMs: s.integer("milliseconds since 1970; the host's time without it", { optional: true, min: 0 }),
    }),
  },
  setPassword: {
    access: 'write',
    doc: 'Sets the password of a user of the guest.',
    key: 'domain',
    lane: 'agent',
    options: s.object('SetGuestPassword', 'Whose', {
      user: s.string('name', { minLength: 1, maxLength: 255 }),
      password: s.string('password', { maxLength: 4096 }),
      crypted: s.boolean('whether it is hashed already', { optional: true }),
    }),
  },
} as const satisfies PartTable<Agent>
