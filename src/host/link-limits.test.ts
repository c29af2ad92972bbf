import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inboundCommands, outboundCommands } from './link-limits.ts'

const said = (commands: readonly (readonly string[])[]) => commands.map((words) => words.join(' '))

test('what a guest receives is shaped, in kilobytes and KiB as libvirt has them', () => {
  assert.deepEqual(inboundCommands('vnet0', undefined), [])
  assert.deepEqual(said(inboundCommands('vnet0', { averageKBps: 100, peakKBps: 200, burstKiB: 64 })), [
    'qdisc add dev vnet0 root handle 1: htb default 1',
    'class add dev vnet0 parent 1: classid 1:1 htb rate 100kbps ceil 200kbps burst 64kb',
  ])
})

test('what it sends is policed; a burst is a second of it where none is said', () => {
  assert.deepEqual(outboundCommands('vnet0', {}), [])
  const [, filter = ''] = said(outboundCommands('vnet0', { averageKBps: 100 }))
  assert.match(filter, /police rate 100kbps burst 100kb mtu 64kb drop/u)
})
