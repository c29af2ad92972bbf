import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePublished, publish } from './publish.ts'

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
