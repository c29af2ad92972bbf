import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { watchStalled } from './stalled.ts'

test('who sends or takes nothing any more is cut off, who waits for us is not', async (t) => {
  const watch = watchStalled(200)
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
  const server = createServer(async (incoming, outgoing) => {
    watch.add(incoming, outgoing)
    incoming.on('error', () => {})
    if (incoming.url === '/send') incoming.resume()
    if (incoming.url === '/take') outgoing.end(Buffer.alloc(2 ** 26))
    if (incoming.url === '/wait') {
      ask()
      setTimeout(() => outgoing.end('late'), 1_000)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    watch.close()
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const open = (head: string) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(`${head}\r\nhost: x\r\n`)
    return socket
  }
  const sender = open('PUT /send HTTP/1.1')
  sender.resume()
  sender.write('content-length: 1000000\r\n\r\nsome')
  const taker = open('GET /take HTTP/1.1')
  taker.write('\r\n')
  const waiter = open('GET /wait HTTP/1.1')
  waiter.write('connection: close\r\n\r\n')
  await asked
  let answer = ''
  waiter.on('data', (bytes: Buffer) => {
    answer += bytes.toString()
  })
  await Promise.all([once(sender, 'close'), once(waiter, 'close')])
  assert.match(answer, /late$/u)
  // What is on its way is read before the end is seen.
  taker.resume()
  await once(taker, 'close')
  assert.ok(taker.bytesRead < 2 ** 26)
})
