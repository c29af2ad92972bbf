/**
 * Messages to the kernel by netlink(7), which change links and rules without a program started for it. Numbers of
 * the host's byte order, as the kernel wants them; netfilter's own are of the network's.
 */
import { getSystemErrorName } from 'node:util'
import { loadCalls } from '../syscall.ts'

/** One request: what is asked, with which flags, and its body. */
export interface NetlinkMessage {
  readonly type: number
  readonly flags?: number
  readonly body: Buffer
  /** Parts of a batch that only begin and end it are not answered. */
  readonly isSilent?: boolean
}

/** Which part of the kernel is asked. */
export const netlinkOf = { route: 0, sockets: 4, netfilter: 12 } as const

const AF_NETLINK = 16
const SOCK_RAW = 3
const SOCK_CLOEXEC = 0o2000000
const MSG_DONTWAIT = 0x40
const NLM_F_REQUEST = 1
const NLM_F_ACK = 4
const NLM_F_DUMP = 0x300
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const headerBytes = 16

/** Mark an attribute that holds others. */
const NLA_F_NESTED = 0x8000

/** What the kernel refused, by the name that errno(3) has for it, such as `ENOENT`. */
export class NetlinkError extends Error {
  override readonly name = 'NetlinkError'
  readonly code: string

  constructor(errno: number) {
    const code = errno > 0 ? getSystemErrorName(-errno) : 'EIO'
    super(`the kernel refused it: ${code}`)
    this.code = code
  }
}

/** An attribute with its value, or with the attributes that it holds. */
export function attribute(type: number, value: Buffer | readonly Buffer[]): Buffer {
  const isNest = !Buffer.isBuffer(value)
  const bytes = isNest ? Buffer.concat(value) : value
  const whole = Buffer.alloc(aligned(4 + bytes.length))
  whole.writeUInt16LE(4 + bytes.length, 0)
  whole.writeUInt16LE(isNest ? type | NLA_F_NESTED : type, 2)
  bytes.copy(whole, 4)
  return whole
}

/** Lengths are of whole words. */
const aligned = (length: number) => (length + 3) & ~3

/**
 * Asks for all of it, and resolves when the kernel has done it; it does so before it lets go of who asks, which is a
 * thread of its own. Fails with {@link NetlinkError} for the first that is refused; whether the others are done is the
 * kernel's to say: all or nothing of a batch of netfilter's.
 */
export async function askKernel(part: number, messages: readonly NetlinkMessage[]): Promise<void> {
  const wanted = messages.filter(({ isSilent }) => !isSilent).length
  let answered = 0
  await converse(part, messages, (answers) => {
    for (const { error } of answers) if (error !== undefined) answered++
    return answered >= wanted
  })
}

/** Asks for one thing; gives the body of the answer. Fails with {@link NetlinkError}. */
export async function tellFromKernel(part: number, message: NetlinkMessage): Promise<Buffer> {
  let found: Buffer | undefined
  await converse(part, [{ ...message, isSilent: true }], (answers) => {
    found ??= answers[0]?.body
    return true
  })
  return found ?? Buffer.alloc(0)
}

/**
 * Asks for a list; gives the bodies of what is in it, which are of the type `answer` where that is another one than
 * what is asked by. Fails with {@link NetlinkError}.
 */
export async function listFromKernel(
  part: number,
  { answer, ...message }: NetlinkMessage & { readonly answer?: number },
): Promise<Buffer[]> {
  const listed: Buffer[] = []
  const wanted = answer ?? message.type
  await converse(part, [{ ...message, flags: NLM_F_DUMP, isSilent: true }], (answers) => {
    listed.push(...answers.filter(({ type }) => type === wanted).map(({ body }) => body))
    return answers.some(({ type }) => type === NLMSG_DONE)
  })
  return listed
}

/** Sends, and reads until that is all. */
async function converse(
  part: number,
  messages: readonly NetlinkMessage[],
  isAll: (answers: readonly NetlinkAnswer[]) => boolean,
): Promise<void> {
  const { socket, sendInThread, recv, close, errno } = await loadCalls()
  const fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, part)
  if (fd < 0) throw new NetlinkError(errno())
  try {
    const bytes = Buffer.concat(messages.map(format))
    const kernel = Buffer.alloc(12)
    kernel.writeUInt16LE(AF_NETLINK, 0)
    if ((await sendInThread(fd, bytes, bytes.length, 0, kernel, kernel.length)) < 0)
      throw new NetlinkError(errno())
    const buffer = Buffer.alloc(64 * 1024)
    for (;;) {
      const length = Number(recv(fd, buffer, buffer.length, MSG_DONTWAIT))
      if (length < 0) throw new NetlinkError(errno())
      const answers = answersIn(buffer.subarray(0, length))
      const refused = answers.find(({ error = 0 }) => error !== 0)
      if (refused) throw new NetlinkError(-(refused.error ?? 0))
      if (isAll(answers)) return
    }
  } finally {
    close(fd)
  }
}

function format({ type, flags = 0, body, isSilent }: NetlinkMessage, index: number): Buffer {
  const whole = Buffer.alloc(aligned(headerBytes + body.length))
  whole.writeUInt32LE(headerBytes + body.length, 0)
  whole.writeUInt16LE(type, 4)
  whole.writeUInt16LE(flags | NLM_F_REQUEST | (isSilent ? 0 : NLM_F_ACK), 6)
  whole.writeUInt32LE(index + 1, 8)
  body.copy(whole, headerBytes)
  return whole
}

interface NetlinkAnswer {
  readonly type: number
  readonly body: Buffer
  /** Of what says how it went: 0 where it is done, else the number of the error, negative. */
  readonly error?: number
}

/** The messages that were received, each whole. */
export function answersIn(bytes: Buffer): NetlinkAnswer[] {
  const found: NetlinkAnswer[] = []
  for (let at = 0; at + headerBytes <= bytes.length; ) {
    const length = bytes.readUInt32LE(at)
    if (length < headerBytes || at + length > bytes.length) break
    const type = bytes.readUInt16LE(at + 4)
    const body = Buffer.from(bytes.subarray(at + headerBytes, at + length))
    const isVerdict = type === NLMSG_ERROR && body.length >= 4
    found.push({ type, body, ...(isVerdict ? { error: body.readInt32LE(0) } : {}) })
    at += aligned(length)
  }
  return found
}
