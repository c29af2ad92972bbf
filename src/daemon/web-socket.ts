/** Consoles over WebSocket: binary messages both ways, neither side faster than the other takes them. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { type RawData, type WebSocket, WebSocketServer } from 'ws'
import type { ByteStream, Log } from '../driver/index.ts'
import { toVisorError } from '../model/index.ts'

/** More than this not yet taken by the viewer: the guest's output waits. */
const highWaterBytes = 256 * 1024
const largestMessageBytes = 1 << 20
const pingMs = 30_000

export interface ConsoleSockets {
  /** Completes the upgrade and joins the two until one of them ends. */
  join(incoming: IncomingMessage, socket: Duplex, head: Buffer, stream: ByteStream): void
  /** Tells all that the server goes away; resolves when they have, or cut off after `timeoutMs`. */
  close(timeoutMs: number): Promise<void>
}

export function consoleSockets(log: Log): ConsoleSockets {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: true,
    perMessageDeflate: false,
    maxPayload: largestMessageBytes,
  })
  return {
    join(incoming, socket, head, stream) {
      let joined = false
      // An upgrade that is refused (a bad key) never calls back, and the console must not stay open.
      socket.once('close', () => {
        if (!joined) void release(stream)
      })
      server.handleUpgrade(incoming, socket, head, (client) => {
        joined = true
        join(client, stream).catch((error) => log.warn({ error }, 'A console ended with an error.'))
      })
    },
    async close(timeoutMs) {
      const ended = [...server.clients].map(
        (client) => new Promise((resolve) => client.once('close', resolve)),
      )
      for (const client of server.clients) client.close(1001, 'visord stops')
      const timer = setTimeout(() => {
        for (const client of server.clients) client.terminate()
      }, timeoutMs)
      await Promise.all(ended)
      clearTimeout(timer)
    },
  }
}

async function join(client: WebSocket, stream: ByteStream): Promise<void> {
  let alive = true
  client.on('pong', () => {
    alive = true
  })
  const timer = setInterval(() => {
    if (!alive) return client.terminate()
    alive = false
    client.ping()
  }, pingMs)
  client.on('error', () => {})
  let released: Promise<void> | undefined
  const leave = () => {
    released ??= release(stream)
    return released
  }
  client.once('close', leave)
  client.on('message', (data) => void receive(client, stream, data))
  try {
    for await (const bytes of stream) await send(client, bytes)
    client.close(1000)
  } catch (error) {
    end(client, error)
  } finally {
    clearInterval(timer)
    await leave()
  }
}

/** A console that cannot be closed any more is closed. */
function release(stream: ByteStream): Promise<void> {
  return stream.close().catch(() => {})
}

async function receive(client: WebSocket, stream: ByteStream, data: RawData): Promise<void> {
  client.pause()
  try {
    await stream.write(toBytes(data))
    client.resume()
  } catch (error) {
    client.resume()
    end(client, error)
  }
}

/** Resolves when the viewer takes more, or is gone. */
async function send(client: WebSocket, bytes: Uint8Array): Promise<void> {
  if (client.readyState !== client.OPEN) return
  const sent = new Promise<void>((resolve) => client.send(bytes, { binary: true }, () => resolve()))
  if (client.bufferedAmount > highWaterBytes) await sent
}

/** A close frame carries at most 123 bytes of reason (RFC 6455, 5.5.1). */
function end(client: WebSocket, error: unknown): void {
  client.close(
    1011,
    Buffer.from(toVisorError(error).message)
      .subarray(0, 120)
      .toString('latin1')
      .replace(/[^ -~]/gu, '?'),
  )
}

function toBytes(data: RawData): Uint8Array {
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  return Array.isArray(data) ? Buffer.concat(data) : data
}
