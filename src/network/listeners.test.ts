import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { parseSockets, whoListens } from './listeners.ts'

test('who listens is known by process and program, on its addresses alone', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const asked = { proto: 'tcp', start: port, end: port } as const
  try {
    const found = await whoListens(asked)
    assert.deepEqual([found?.port, found?.pid], [port, process.pid])
    assert.equal(found?.program, (await readFile('/proc/self/comm', 'utf8')).trim())
    assert.equal((await whoListens({ ...asked, address: '127.0.0.1' }))?.pid, process.pid)
    assert.equal(await whoListens({ ...asked, address: '127.0.0.9' }), undefined)
    const [entry] = parseSockets(await readFile('/proc/net/tcp', 'latin1'), '0A').filter(
      (one) => one.port === port,
    )
    assert.equal(entry?.address, '127.0.0.1')
  } finally {
    server.close()
  }
  const socket = createSocket('udp6').bind(0, '::1')
  await once(socket, 'listening')
  const bound = socket.address().port
  const udp = { proto: 'udp', start: bound, end: bound } as const
  try {
    assert.equal((await whoListens({ ...udp, address: '::1' }))?.pid, process.pid)
    assert.equal(await whoListens({ ...udp, address: '127.0.0.1' }), undefined)
  } finally {
    socket.close()
  }
})
