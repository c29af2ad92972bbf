/**
 * What a server of network block devices exports. Source: the NBD protocol, doc/proto.md of NetworkBlockDevice/nbd:
 * "fixed newstyle" negotiation with NBD_OPT_LIST and NBD_OPT_INFO. What the server says is bounded.
 */
import { connect, type Socket } from 'node:net'
import { VisorError } from '../../../model/index.ts'

export interface NbdExport {
  readonly name: string
  readonly sizeBytes: number
  readonly readonly: boolean
}

export interface NbdAddress {
  readonly host: string
  readonly port: number
}

const magic = Buffer.from('NBDMAGIC')
const optionMagic = Buffer.from('IHAVEOPT')
const replyMagic = 0x3e889045565a9n
const option = { abort: 2, list: 3, info: 6 } as const
const reply = { ack: 1, server: 2, info: 3, errorBit: 2 ** 31 } as const
/** Flags of the handshake: fixed newstyle, no zeroes after it. */
const handshakeFlags = 0b11
const exportInformation = 0
const readOnlyFlag = 0b10

const patienceMs = 10_000
const mostExports = 10_000
/** The protocol's own bound of a string. */
const longestName = 4096
const longestReply = 65_536

/** All exports, by name; those that cannot be opened are left out. Fails with `unavailable`, naming the server. */
export async function listNbdExports(
  address: NbdAddress,
  {
    names,
    signal,
  }: { readonly names?: readonly string[] | undefined; readonly signal?: AbortSignal | undefined } = {},
): Promise<NbdExport[]> {
  const socket = connect({ host: address.host, port: address.port })
  const limit = AbortSignal.any([AbortSignal.timeout(patienceMs), ...(signal ? [signal] : [])])
  const stop = () => socket.destroy(new Error('it does not answer'))
  limit.addEventListener('abort', stop, { once: true })
  try {
    const read = reader(socket)
    await greet(socket, read)
    const found: NbdExport[] = []
    for (const name of names ?? (await list(socket, read))) {
      const one = await inform(socket, read, name)
      if (one) found.push(one)
    }
    send(socket, option.abort, Buffer.alloc(0))
    return found.sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch (cause) {
    signal?.throwIfAborted()
    if (cause instanceof VisorError) throw cause
    throw new VisorError(
      'unavailable',
      `The NBD server at ${address.host}:${address.port} cannot be asked: ${cause instanceof Error ? cause.message : String(cause)}.`,
      { cause, remedy: 'See that it runs there, and that nothing is in the way: nc -vz HOST PORT.' },
    )
  } finally {
    limit.removeEventListener('abort', stop)
    socket.end()
    socket.destroySoon()
  }
}

type Read = (bytes: number) => Promise<Buffer>

/** Reads exactly so many bytes, no more than are there. */
function reader(socket: Socket): Read {
  const chunks = socket[Symbol.asyncIterator]()
  let rest: Buffer = Buffer.alloc(0)
  return async (bytes) => {
    const parts = [rest]
    let length = rest.length
    while (length < bytes) {
      const { value, done } = await chunks.next()
      if (done) throw new Error('it ended the connection')
      parts.push(value as Buffer)
      length += (value as Buffer).length
    }
    const all = Buffer.concat(parts)
    rest = all.subarray(bytes)
    return all.subarray(0, bytes)
  }
}

async function greet(socket: Socket, read: Read): Promise<void> {
  const hello = await read(18)
  if (!hello.subarray(0, 8).equals(magic)) throw new Error('it is no NBD server')
  if (!hello.subarray(8, 16).equals(optionMagic) || (hello.readUInt16BE(16) & 1) === 0)
    throw new Error('it speaks only the old form of the protocol')
  const flags = Buffer.alloc(4)
  flags.writeUInt32BE(hello.readUInt16BE(16) & handshakeFlags)
  socket.write(flags)
}

function send(socket: Socket, kind: number, content: Buffer): void {
  const head = Buffer.alloc(16)
  optionMagic.copy(head)
  head.writeUInt32BE(kind, 8)
  head.writeUInt32BE(content.length, 12)
  socket.write(Buffer.concat([head, content]))
}

interface Reply {
  readonly kind: number
  readonly content: Buffer
}

async function nextReply(read: Read, asked: number): Promise<Reply> {
  const head = await read(20)
  const [kind, length] = [head.readUInt32BE(12), head.readUInt32BE(16)]
  if (head.readBigUInt64BE(0) !== replyMagic || head.readUInt32BE(8) !== asked || length > longestReply)
    throw new Error('it answers in a way that cannot be understood')
  return { kind, content: await read(length) }
}

async function list(socket: Socket, read: Read): Promise<string[]> {
  send(socket, option.list, Buffer.alloc(0))
  const names: string[] = []
  for (;;) {
    const { kind, content } = await nextReply(read, option.list)
    if (kind === reply.ack) return names
    if (kind >= reply.errorBit)
      throw new VisorError('denied', 'The NBD server does not say what it exports.', {
        remedy: "Name the one export in the definition of the pool: 'source.name'.",
      })
    if (kind !== reply.server || content.length < 4) throw new Error('its list cannot be understood')
    const length = content.readUInt32BE(0)
    if (length > longestName || length > content.length - 4) throw new Error('its list cannot be understood')
    if (names.length >= mostExports) throw new Error(`it has more than ${mostExports} exports`)
    names.push(content.toString('utf8', 4, 4 + length))
  }
}

/** Undefined for one that cannot be opened. */
async function inform(socket: Socket, read: Read, name: string): Promise<NbdExport | undefined> {
  const bytes = Buffer.from(name)
  const content = Buffer.alloc(4 + bytes.length + 2)
  content.writeUInt32BE(bytes.length)
  bytes.copy(content, 4)
  send(socket, option.info, content)
  let found: NbdExport | undefined
  for (let replies = 0; replies < 16; replies++) {
    const { kind, content: said } = await nextReply(read, option.info)
    if (kind === reply.ack) return found
    if (kind >= reply.errorBit) return undefined
    if (kind === reply.info && said.length >= 12 && said.readUInt16BE(0) === exportInformation) {
      const size = said.readBigUInt64BE(2)
      if (size > BigInt(Number.MAX_SAFE_INTEGER)) return undefined
      found = { name, sizeBytes: Number(size), readonly: (said.readUInt16BE(10) & readOnlyFlag) !== 0 }
    }
  }
  throw new Error('it says too much of one export')
}
