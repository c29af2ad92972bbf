import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseDefinition } from '../../model/index.ts'
import { readPlace } from './guest-place.ts'
import { quoteLine } from './quote.ts'
import { forwardTo, otherHost } from './ssh-target.ts'

test('a shell reads quoted words as they are', () => {
  const word = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => !text.includes('\0'))
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 5 }), (words) => {
      const said = execFileSync('sh', ['-c', `printf '%s\\0' ${quoteLine(words)}`]).toString()
      assert.equal(said, words.map((one) => `${one}\0`).join(''))
    }),
    { numRuns: 50 },
  )
})

test('places in machines are told from files here', () => {
  assert.deepEqual(readPlace('web:/etc/a:b'), { domain: 'web', path: '/etc/a:b' })
  for (const file of ['a', './web:/x', '/web:/x', 'a/b:/c', '.', '..:x', '-'])
    assert.equal(readPlace(file), undefined)
  for (const wrong of ['web:', 'web:x', 'web:~/x'])
    assert.throws(() => readPlace(wrong), { code: 'invalid-argument', remedy: /web:\//u })
})

test('a port of the host that leads to one of the guest is found', () => {
  const definition = (ports: string) =>
    parseDefinition(
      `<domain type='qemu'><name>a</name><memory>65536</memory><os><type arch='x86_64'>hvm</type></os><devices><interface type='user'>${ports}</interface></devices></domain>`,
    )
  const of = (ports: string) => forwardTo(definition(ports), 22)
  assert.equal(of(''), undefined)
  assert.equal(of("<portForward proto='udp'><range start='22'/></portForward>"), undefined)
  assert.deepEqual(of("<portForward proto='tcp'><range start='22'/></portForward>"), {
    address: '127.0.0.1',
    port: 22,
  })
  const range = (attributes: string) =>
    of(`<portForward proto='tcp' address='127.0.0.5'><range ${attributes}/></portForward>`)
  assert.deepEqual(range("start='2020' end='2030' to='20'"), { address: '127.0.0.5', port: 2022 })
  assert.equal(range("start='2020' end='2021' to='20'"), undefined)
  assert.equal(range("start='22' exclude='yes'"), undefined)
})

test('a visord on another host is known by its address', () => {
  for (const uri of [
    'unix:///run/visor/visord.sock',
    'qemu:///system',
    'http://localhost:8430',
    'http://[::1]:1',
  ])
    assert.equal(otherHost({ uri }), undefined)
  assert.equal(otherHost({ uri: 'https://far.example:8430' }), 'far.example:8430')
})
