/** The answer to what is not even a request: the HTTP parser gave it up. */
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { VisorError } from '../model/index.ts'
import { problemType, toProblem } from '../rest/index.ts'

const faults: Readonly<Record<string, { status: number; message: string; remedy: string }>> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    message: 'The request line and the headers are larger than 16 KiB together.',
    remedy: 'Ask for less at once: name fewer domains in the query, send fewer or shorter headers.',
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: 413,
    message: 'The chunk extensions of the body are too large.',
    remedy: 'Send the body without them.',
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    message: 'The request did not arrive whole in time.',
    remedy: 'Send it again, without pauses.',
  },
}

const malformed = {
  status: 400,
  message: 'What was sent is not a request of HTTP/1.1.',
  remedy: 'Send a whole request line, a Host header and well-formed headers; for TLS, use https.',
}

/** What is wrong with a request that could not be read, as the status and body of an answer. */
export function describeFault(code: string | undefined): { status: number; body: string } {
  const { status, message, remedy } = faults[code ?? ''] ?? malformed
  const error = new VisorError('invalid-argument', message, { remedy })
  return { status, body: JSON.stringify(toProblem(error, undefined, status)) }
}

/** Tells the sender what was wrong, where it can still be told, and ends the connection. */
export function answerFault({ code }: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || code === 'ECONNRESET') return void socket.destroy()
  const { status, body } = describeFault(code)
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'connection: close',
    'cache-control: no-store',
    'x-content-type-options: nosniff',
    `content-type: ${problemType}`,
    `content-length: ${Buffer.byteLength(body)}`,
  ]
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
}
