import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePublicPorts, parsePublished, publish } from './publish.ts'

test('ports are those of this host, unless an address is named', () => {
  assert.deepEqual(parsePublished('8080:80'), {
    proto: 'tcp',
    address: '127.0.0.1',
    ranges: [{ start: 8080, to: 80 }],
  })
  assert.deepEqual(parsePublished('0.0.0.0:53:5353/udp'), { proto: 'udp', ranges: [{ start: 53, to: 5353 }] })
})

test('what names no ports is refused', () => {
  for (const text of ['', '80', 'a:b', '0:80', '70000:80', '8080:80/sctp', '1.2.3:8080:80'])
    assert.throws(() => parsePublished(text), { code: 'invalid-argument' })
})

test('they lead to the first card that has a network of its own', () => {
  const cards = publish([{ type: 'bridge', bridge: 'br0' }, { type: 'user' }], ['8080:80'])
  assert.equal(cards[0]?.portForwards, undefined)
  assert.equal(cards[1]?.portForwards?.length, 1)
  assert.throws(() => publish([{ type: 'bridge', bridge: 'br0' }], ['8080:80']), { code: 'invalid-argument' })
  assert.deepEqual(publish([], []), [])
})

test('ports that lead to a machine on a network may be ranges, on any address', () => {
  assert.deepEqual(parsePublicPorts('8080:80'), { proto: 'tcp', start: 8080, end: 8080, to: 80 })
  assert.deepEqual(parsePublicPorts('53/udp'), { proto: 'udp', start: 53, end: 53, to: 53 })
  assert.deepEqual(parsePublicPorts('[fd00::1]:30000-30010:40000'), {
    ...{ proto: 'tcp', address: 'fd00::1', start: 30_000, end: 30_010, to: 40_000 },
  })
  for (const text of ['', ':80', '0:80', '90-80:1', '8080:80/sctp', '70000'])
    assert.throws(() => parsePublicPorts(text), { code: 'invalid-argument' })
})
