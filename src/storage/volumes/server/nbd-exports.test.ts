import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { VisorError } from '../../../model/index.ts'
import { parseUnits } from './iscsi-units.ts'
import { listNbdExports } from './nbd-exports.ts'

const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted

/** A server that says these bytes to everybody, and where it is. */
async function says(
  t: TestContext,
  answer: (socket: Socket) => void,
): Promise<{ host: string; port: number }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    answer(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const address = server.address()
  return { host: '127.0.0.1', port: typeof address === 'object' && address ? address.port : 0 }
}

const hello = Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), Buffer.from([0, 3])])

function reply(option: number, kind: number, content: Buffer): Buffer {
  const head = Buffer.alloc(20)
  head.writeBigUInt64BE(0x3e889045565a9n)
  head.writeUInt32BE(option, 8)
  head.writeUInt32BE(kind, 12)
  head.writeUInt32BE(content.length, 16)
  return Buffer.concat([head, content])
}

const named = (length: number, name: string) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(length)
  return Buffer.concat([bytes, Buffer.from(name)])
}

test('a server that is none, is of the old kind, or lies about lengths is told of', async (t) => {
  const answers: readonly (readonly [RegExp, Buffer])[] = [
    [/is no NBD server/u, Buffer.from('SSH-2.0-OpenSSH_9.2p1 Debian')],
    [/old form/u, Buffer.concat([Buffer.from('NBDMAGIC'), Buffer.alloc(32)])],
    [/ended the connection/u, hello.subarray(0, 10)],
    [/cannot be understood/u, Buffer.concat([hello, Buffer.alloc(64)])],
    [/cannot be understood/u, Buffer.concat([hello, reply(3, 2, named(2 ** 31, 'x'))])],
    [/cannot be understood/u, Buffer.concat([hello, reply(3, 2, Buffer.alloc(2))])],
  ]
  for (const [words, bytes] of answers) {
    const address = await says(t, (socket) => socket.end(bytes))
    await assert.rejects(listNbdExports(address), words)
  }
})

test('one that refuses to list is to be named; one that is silent is given up', async (t) => {
  const closed = await says(t, (socket) =>
    socket.write(Buffer.concat([hello, reply(3, 2 ** 31 + 2, Buffer.alloc(0))])),
  )
  await assert.rejects(listNbdExports(closed), /Name the one export|does not say/u)
  const silent = await says(t, (socket) => socket.write(hello))
  const given = new AbortController()
  const asked = listNbdExports(silent, { signal: given.signal })
  given.abort()
  await assert.rejects(asked)
  await assert.rejects(listNbdExports({ host: '127.0.0.1', port: 1 }), code('unavailable'))
})

test('a list without end is bounded', async (t) => {
  const one = reply(3, 2, named(1, 'x'))
  const many = Buffer.concat(Array.from({ length: 1000 }, () => one))
  const endless = await says(t, (socket) => {
    socket.write(hello)
    const more = () => {
      while (!socket.destroyed && socket.write(many));
    }
    socket.on('drain', more)
    more()
  })
  await assert.rejects(listNbdExports(endless), /more than 10000 exports/u)
})

test('whatever comes, it is an answer or an error of ours', async (t) => {
  let bytes: Uint8Array = new Uint8Array()
  const address = await says(t, (socket) => socket.end(Buffer.concat([hello, bytes])))
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.boolean(), async (some, framed) => {
      bytes = framed ? Buffer.concat([reply(3, 1, Buffer.alloc(0)), some]) : some
      await listNbdExports(address).catch((error: unknown) => assert.ok(error instanceof VisorError))
    }),
    { numRuns: 50 },
  )
})

test('the units of a target are found in what iscsi-ls prints, and of no other', () => {
  const text = [
    'Target:iqn.2026-01.org.example:other Portal:127.0.0.1:3260,1',
    'Lun:1    Type:DIRECT_ACCESS (Size:16M)',
    'Target:iqn.2026-01.org.example:disk Portal:127.0.0.1:3260,1',
    'Lun:0    Type:STORAGE_ARRAY_CONTROLLER_DEVICE',
    'Lun:2    Type:DIRECT_ACCESS (Size:16M)',
    'Lun:2    Type:DIRECT_ACCESS (Size:16M)',
    'Lun:999999999 Type:DIRECT_ACCESS (Size:16M)',
    '',
  ].join('\n')
  assert.deepEqual(parseUnits(text, 'iqn.2026-01.org.example:disk'), [2])
  assert.equal(parseUnits(text, 'iqn.2026-01.org.example:none'), undefined)
  fc.assert(fc.property(fc.string(), (any) => void parseUnits(any, 'x')))
})
