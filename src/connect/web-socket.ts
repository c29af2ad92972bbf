import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { WebSocket } from 'ws'
import type { ByteStream } from '../driver/index.ts'
import { toVisorError, VisorError } from '../model/index.ts'
import { fromProblem, openByteStream } from '../rest/index.ts'

/** No answer that refuses a console is longer. */
const problemLimitBytes = 65_536
const handshakeTimeoutMs = 30_000

/** Opens a WebSocket over TCP, or over the unix socket at `socketPath`; fails as the server refused it. */
export function openWebSocket(
  url: URL,
  headers: Readonly<Record<string, string>>,
  socketPath?: string,
): Promise<ByteStream> {
  const target = new URL(url)
  target.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
  const socket = new WebSocket(target, {
    headers,
    perMessageDeflate: false,
    handshakeTimeout: handshakeTimeoutMs,
    ...(socketPath !== undefined && { createConnection: () => connect(socketPath) }),
  })
  const refused = Promise.withResolvers<never>()
  socket.on('unexpected-response', (request, response) => {
    readRefusal(response)
      .then(refused.reject, (error) => refused.reject(toVisorError(error)))
      .finally(() => request.destroy())
  })
  socket.on('error', (cause) => {
    refused.reject(
      new VisorError('unavailable', `The console could not be opened: ${cause.message}.`, { cause }),
    )
  })
  return Promise.race([refused.promise, openByteStream(socket)])
}

async function readRefusal(response: IncomingMessage): Promise<VisorError> {
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) {
    text += chunk
    if (text.length > problemLimitBytes) break
  }
  return fromProblem(response.statusCode ?? 502, text)
}
