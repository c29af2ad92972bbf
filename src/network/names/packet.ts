/**
 * Messages of the DNS: questions in, replies out. Source: RFC 1035 (4), RFC 6891 (EDNS), RFC 3596 (AAAA).
 */

export const recordType = { A: 1, SOA: 6, PTR: 12, AAAA: 28, IXFR: 251, AXFR: 252, ANY: 255 } as const
const optType = 41
export const internetClass = 1

export const replyCode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
  badVersion: 16,
} as const

/** Octets of a label, as characters of that number; upper case as it came. */
export type Labels = readonly string[]

export interface Question {
  readonly labels: Labels
  readonly type: number
  readonly class: number
}

export interface Query {
  readonly id: number
  readonly opcode: number
  readonly recursionDesired: boolean
  /** Absent where it could not be read: then `fault` says what is told of it. */
  readonly question?: Question
  readonly fault?: number
  /** What the asker can take by UDP, bytes; absent without EDNS. */
  readonly payloadSize?: number
}

/** `labels` absent: of the name that was asked for. */
export interface DnsRecord {
  readonly labels?: Labels
  readonly type: number
  readonly data: Uint8Array
}

export interface Reply {
  readonly code: number
  /** Whether it is said with authority. */
  readonly isOwn: boolean
  readonly answers: readonly DnsRecord[]
  readonly authority: readonly DnsRecord[]
}

const headerBytes = 12
const mostNameBytes = 255
/** Names stay right at once when a guest leaves: nobody is to keep them. */
const ttlSeconds = 0
/** Of an answer without EDNS, and the most that passes links without being taken apart (RFC 9715). */
const plainBytes = 512
const mostDatagramBytes = 1232

/**
 * Reads a question. Undefined for what is not to be answered at all: replies, and what is shorter than a header.
 * What is malformed has a `fault`. Never fails.
 */
export function readQuery(message: Uint8Array): Query | undefined {
  if (message.length < headerBytes) return undefined
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  const flags = view.getUint16(2)
  if ((flags & 0x8000) !== 0) return undefined
  const head = {
    id: view.getUint16(0),
    opcode: (flags >> 11) & 15,
    recursionDesired: (flags & 0x0100) !== 0,
  }
  if (head.opcode !== 0) return { ...head, fault: replyCode.notImplemented }
  const malformed = { ...head, fault: replyCode.formatError }
  if (view.getUint16(4) !== 1) return malformed
  const name = readName(message, headerBytes)
  if (!name || name.end + 4 > message.length) return malformed
  const question = {
    labels: name.labels,
    type: view.getUint16(name.end),
    class: view.getUint16(name.end + 2),
  }
  const others = view.getUint16(6) + view.getUint16(8) + view.getUint16(10)
  const extension = findExtension(message, view, name.end + 4, others)
  if (extension === 'malformed') return { ...malformed, question }
  if (!extension) return { ...head, question }
  const { payloadSize, version } = extension
  return { ...head, question, payloadSize, ...(version === 0 ? {} : { fault: replyCode.badVersion }) }
}

/** A name that is written out: in the first question there is nothing yet that it could refer to. */
function readName(
  message: Uint8Array,
  start: number,
): { readonly labels: Labels; readonly end: number } | undefined {
  const labels: string[] = []
  let at = start
  for (;;) {
    const length = message[at]
    if (length === undefined || length > 63 || at + 1 + length - start >= mostNameBytes) return undefined
    if (length === 0) return { labels, end: at + 1 }
    if (at + 1 + length > message.length) return undefined
    labels.push(String.fromCharCode(...message.subarray(at + 1, at + 1 + length)))
    at += 1 + length
  }
}

/** Goes over records to the one that is EDNS; each must be whole, and it the only one of its kind. */
function findExtension(
  message: Uint8Array,
  view: DataView,
  start: number,
  count: number,
): { readonly payloadSize: number; readonly version: number } | 'malformed' | undefined {
  let found: { readonly payloadSize: number; readonly version: number } | undefined
  let at = start
  for (let index = 0; index < count; index++) {
    const body = skipName(message, at)
    if (body === undefined || body + 10 > message.length) return 'malformed'
    const end = body + 10 + view.getUint16(body + 8)
    if (end > message.length) return 'malformed'
    if (view.getUint16(body) === optType) {
      if (found || body !== at + 1) return 'malformed'
      found = { payloadSize: view.getUint16(body + 2), version: view.getUint8(body + 5) }
    }
    at = end
  }
  return found
}

/** Where a name ends, which may refer to another. */
function skipName(message: Uint8Array, start: number): number | undefined {
  let at = start
  for (;;) {
    const length = message[at]
    if (length === undefined || at - start >= mostNameBytes) return undefined
    if (length === 0) return at + 1
    if (length >= 0xc0) return at + 2 <= message.length ? at + 2 : undefined
    if (length > 63) return undefined
    at += 1 + length
  }
}

/** The most that a reply by UDP may have, bytes. */
export const datagramBytes = ({ payloadSize = plainBytes }: Query): number =>
  Math.min(Math.max(payloadSize, plainBytes), mostDatagramBytes)

/** A reply of at most so many bytes: what does not fit is left out as a whole, and said to be. */
export function writeReply(query: Query, reply: Reply, mostBytes: number): Uint8Array {
  const whole = write(query, reply, false)
  return whole.length <= mostBytes ? whole : write(query, { ...reply, answers: [], authority: [] }, true)
}

function write(query: Query, { code, isOwn, answers, authority }: Reply, isCut: boolean): Uint8Array {
  const { id, opcode, recursionDesired, question, payloadSize } = query
  const flags =
    0x8000 |
    (opcode << 11) |
    (isOwn ? 0x0400 : 0) |
    (isCut ? 0x0200 : 0) |
    (recursionDesired ? 0x0100 : 0) |
    (code & 15)
  const parts = [
    words(id, flags, question ? 1 : 0, answers.length, authority.length, payloadSize === undefined ? 0 : 1),
  ]
  if (question) parts.push(writeName(question.labels), words(question.type, question.class))
  for (const { labels, type, data } of [...answers, ...authority])
    parts.push(
      labels ? writeName(labels) : words(0xc000 | headerBytes),
      words(type, internetClass, 0, ttlSeconds, data.length),
      data,
    )
  if (payloadSize !== undefined)
    parts.push(Uint8Array.of(0), words(optType, mostDatagramBytes, (code >> 4) << 8, 0, 0))
  return Buffer.concat(parts)
}

/** A name as it is sent. Its labels are whole and short: they were read, or are those of guests. */
export function writeName(labels: Labels): Uint8Array {
  return Buffer.concat([
    ...labels.map((label) => Buffer.concat([Uint8Array.of(label.length), Buffer.from(label, 'latin1')])),
    Uint8Array.of(0),
  ])
}

/** Numbers of 16 bits. */
export const words = (...values: readonly number[]): Uint8Array =>
  Uint8Array.from(values.flatMap((value) => [value >> 8, value & 255]))
