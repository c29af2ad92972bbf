/** Answers by UDP and TCP on one address of this host. Source: RFC 1035 (4.2), RFC 7766. */
import { createSocket, type Socket as DatagramSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { Log } from '../../driver/index.ts'
import { answer, failure } from './answer.ts'
import type { GuestNames } from './guest-names.ts'
import { datagramBytes, type Query, readQuery, writeReply } from './packet.ts'

export interface NameServer {
  readonly address: string
  readonly port: number
  close(): Promise<void>
}

/** Questions that wait for what is not known yet; more by UDP are asked again by who asks. */
const mostWaiting = 256
const mostConnections = 64
/** Who has a connection and says nothing. */
const idleMs = 10_000
const mostStreamBytes = 65_535

/** Listens; port 0 is any that is free. Fails as listening does (`EADDRINUSE`, `EACCES`), and then not at all. */
export async function serveNames(
  { address, port, names }: { readonly address: string; readonly port: number; readonly names: GuestNames },
  log: Log,
): Promise<NameServer> {
  const replyTo = async (query: Query, mostBytes: number): Promise<Uint8Array> => {
    const reply = await answer(query, names).catch((error: unknown) => {
      log.warn({ error: String(error) }, 'A question for the name of a guest could not be answered.')
      return failure
    })
    return writeReply(query, reply, mostBytes)
  }
  const datagrams = await openDatagrams(address, port, replyTo)
  try {
    const bound = datagrams.address().port
    const { server, connections } = await openStreams(address, bound, replyTo)
    for (const one of [datagrams, server])
      one.on('error', (error) => log.warn({ error: String(error) }, 'Names of guests: a socket failed.'))
    return {
      address,
      port: bound,
      async close() {
        datagrams.close()
        server.close()
        for (const connection of connections) connection.destroy()
        await Promise.all([once(datagrams, 'close'), once(server, 'close')])
      },
    }
  } catch (error) {
    datagrams.close()
    throw error
  }
}

type ReplyTo = (query: Query, mostBytes: number) => Promise<Uint8Array>

async function openDatagrams(address: string, port: number, replyTo: ReplyTo): Promise<DatagramSocket> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  let waiting = 0
  socket.on('message', (message, from) => {
    const query = waiting < mostWaiting ? readQuery(message) : undefined
    if (!query) return
    waiting++
    void replyTo(query, datagramBytes(query))
      // Who asked may be gone, and the socket closed.
      .then((bytes) => socket.send(bytes, from.port, from.address, () => {}))
      .catch(() => {})
      .finally(() => waiting--)
  })
  socket.bind({ address, port, exclusive: true })
  await once(socket, 'listening')
  return socket
}

async function openStreams(
  host: string,
  port: number,
  replyTo: ReplyTo,
): Promise<{ readonly server: Server; readonly connections: ReadonlySet<Socket> }> {
  const connections = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.add(socket)
    socket.setTimeout(idleMs, () => socket.destroy())
    socket.on('error', () => socket.destroy())
    socket.on('close', () => connections.delete(socket))
    void answerStream(socket, replyTo).catch(() => socket.destroy())
  })
  server.maxConnections = mostConnections
  server.listen({ host, port, exclusive: true })
  await once(server, 'listening')
  return { server, connections }
}

/** One question after another, each with its length before it, until there are no more. */
async function answerStream(socket: Socket, replyTo: ReplyTo): Promise<void> {
  let rest = Buffer.alloc(0)
  for await (const chunk of socket) {
    rest = Buffer.concat([rest, chunk])
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      const end = 2 + rest.readUInt16BE(0)
      const query = readQuery(rest.subarray(2, end))
      if (!query) return void socket.destroy()
      rest = rest.subarray(end)
      const bytes = await replyTo(query, mostStreamBytes)
      const length = Buffer.alloc(2)
      length.writeUInt16BE(bytes.length)
      socket.write(Buffer.concat([length, bytes]))
      // Who asks and asks, and takes no reply.
      if (socket.writableLength > mostStreamBytes) return void socket.destroy()
    }
  }
  socket.end()
}
