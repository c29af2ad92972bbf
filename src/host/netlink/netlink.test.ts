import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { answersIn, askKernel, attribute, netlinkOf } from './messages.ts'
import { changeElements, concatenated } from './set-elements.ts'
import { openSockets } from './sockets.ts'

test('an attribute has its length, its type, and whole words', () => {
  assert.equal(attribute(3, Buffer.from('ab')).toString('hex'), '0600030061620000')
  assert.equal(attribute(1, [attribute(2, Buffer.from([7]))]).toString('hex'), '0c0001800500020007000000')
})

test('parts of keys are as the kernel compares them', () => {
  const hex = (...parts: Parameters<typeof concatenated>[0]) => concatenated(parts).toString('hex')
  assert.equal(hex(['ifname', 'vnet0']), '766e6574300000000000000000000000')
  assert.equal(hex(['ipv6_addr', 'fd00::2']), 'fd000000000000000000000000000002')
  assert.equal(hex(['inet_service', 8080]), '1f90')
  // Of several, each is filled up to whole words.
  assert.equal(hex(['ipv4_addr', '10.0.0.2'], ['inet_service', 80]), '0a00000200500000')
  assert.equal(
    hex(['ifname', 'a'], ['ether_addr', '52:54:00:12:34:56']),
    '61000000000000000000000000000000' + '5254001234560000',
  )
})

test('answers that are cut off or say odd things are read to their end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.ok(answersIn(Buffer.from(bytes)).length <= bytes.length / 16)
    }),
  )
})

test('what the kernel refuses is an error with its name', async () => {
  const element = { family: 'inet', set: 'none', key: [['inet_service', 80]] } as const
  // Without the right to rules at all, that is what it says.
  await assert.rejects(
    changeElements('visor-none', [{ change: 'add', element }]),
    /ENOENT|EPERM|EOPNOTSUPP|EINVAL/u,
  )
  await assert.rejects(askKernel(netlinkOf.route, [{ type: 19, body: Buffer.alloc(16) }]), {
    name: 'NetlinkError',
  })
})

test('sockets that listen are listed, with those of both families', async (context) => {
  const server = createServer().listen(0, '::')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  try {
    const all = await openSockets('tcp').catch((error: unknown) => String(error))
    if (typeof all === 'string') return context.skip(`this kernel does not tell: ${all}`)
    assert.deepEqual(
      all.filter((one) => one.port === port).map(({ address }) => [...address]),
      [Array.from({ length: 16 }, () => 0)],
    )
  } finally {
    server.close()
  }
})
