import assert from 'node:assert/strict'
import { test } from 'node:test'
import { shell } from './shell.ts'

function machine() {
  const done: string[] = []
  let printed = ''
  const box = shell({
    name: 'web',
    uuid: 'u-u-i-d',
    uptimeSeconds: () => 1.25,
    print(text) {
      printed += text
    },
    powerOff: () => done.push('off'),
    reboot: () => done.push('reboot'),
    crash: () => done.push('crash'),
  })
  return {
    done,
    box,
    type(text: string) {
      printed = ''
      box.type(Buffer.from(text))
      return printed
    },
  }
}

test('the shell greets, echoes and answers', () => {
  const { type } = machine()
  assert.equal(type('hostname\r'), 'hostname\r\nweb\r\n# ')
  assert.equal(type('echo  a  b\r\n'), 'echo  a  b\r\na b\r\n# ')
  assert.equal(type('seq 2\n'), 'seq 2\r\n1\r\n2\r\n# ')
  assert.equal(type('uptime\n'), 'uptime\r\nup 1.3 s\r\n# ')
  assert.equal(type('nope\n'), 'nope\r\nsh: nope: not found\r\n# ')
  assert.equal(type('constructor\n'), 'constructor\r\nsh: constructor: not found\r\n# ')
  assert.match(type('help\n'), /poweroff {2}powers/u)
  assert.equal(type('\n'), '\r\n# ')
})

test('lines can be corrected, given up, and are bounded', () => {
  const { type } = machine()
  assert.equal(type('ecjo\b\bho\b\x7fho x\n').endsWith('\r\nx\r\n# '), true)
  assert.equal(type('abc\x03'), 'abc^C\r\n# ')
  assert.equal(type('\b'), '')
  assert.equal(type('\x1b\x00'), '')
  assert.equal(type('x'.repeat(5000)).length, 1024)
  assert.match(type('\n'), /not found/u)
})

test('commands act on the machine', async () => {
  const { type, done } = machine()
  type('poweroff\nreboot\ncrash\n')
  await Promise.resolve()
  assert.deepEqual(done, ['off', 'reboot', 'crash'])
})
