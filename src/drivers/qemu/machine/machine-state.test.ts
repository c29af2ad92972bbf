import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judge } from '../emulator/kvm.ts'
import { afterEvent, fromStatus, type MachineState } from './machine-state.ts'

const running: MachineState = { state: 'running', reason: 'booted' }

function after(state: MachineState, ...events: [string, Record<string, unknown>?][]) {
  const told: string[] = []
  for (const [event, data = {}] of events) {
    const next = afterEvent(state, { event, data, timeMs: 0 })
    state = next.state
    if (next.tell) told.push(next.tell.type)
  }
  return { state, told }
}

test('stops and resumes are told once', () => {
  const { state, told } = after(running, ['STOP'], ['STOP'], ['RESUME'], ['RESUME'])
  assert.deepEqual(told, ['suspended', 'resumed'])
  assert.equal(state.state, 'running')
})

test('a power-off is told as stopping, and is why it ends', () => {
  const { state, told } = after(running, ['SHUTDOWN', { guest: true, reason: 'guest-shutdown' }])
  assert.deepEqual([state.state, state.ending, told], ['shutdown', 'shutdown', ['stopping']])
})

test('a watchdog pauses it, or is only told of', () => {
  const paused = after(running, ['WATCHDOG', { action: 'pause' }], ['STOP'])
  assert.deepEqual([paused.state.state, paused.state.reason], ['paused', 'watchdog'])
  assert.deepEqual(paused.told, ['suspended'])
  const reset = after(running, ['WATCHDOG', { action: 'reset' }])
  assert.equal(reset.state.state, 'running')
  assert.deepEqual(reset.told, ['watchdog'])
})

test('a panic is why it ends, also when it powers off afterwards', () => {
  const { state, told } = after(running, ['GUEST_PANICKED'], ['SHUTDOWN', { reason: 'guest-panic' }])
  assert.deepEqual([state.ending, told], ['crashed', ['crashed']])
})

test('a full disk stops the guest and says so', () => {
  const { state } = after(running, [
    'BLOCK_IO_ERROR',
    { action: 'stop', device: 'vda', reason: 'No space left on device' },
  ])
  assert.deepEqual([state.state, state.reason], ['paused', 'io-error'])
  assert.match(state.message ?? '', /No space left/u)
})

test('unknown events and odd data change nothing', () => {
  assert.deepEqual(after(running, ['NOVEL', { x: 1 }], ['BALLOON_CHANGE', { actual: 'x' }]).state, running)
  assert.equal(fromStatus({ status: 'novel' }).state, 'paused')
  assert.equal(fromStatus(null).state, 'paused')
})

test('KVM works only when the guest arrived and the processor has the extension', () => {
  assert.equal(judge('RPLS', '', true).works, true)
  const cases: [string, string, boolean, RegExp][] = [
    ['RPLS', '', false, /neither vmx nor svm/u],
    ['RPL', '', false, /instruction by instruction/u],
    ['', '', false, /its firmware/u],
    ['', 'failed to set MSR.', true, /failed to set MSR/u],
  ]
  for (const [letters, failure, extension, detail] of cases) {
    const state = judge(letters, failure, extension)
    assert.equal(state.works, false)
    assert.match(state.detail, detail)
    assert.ok(state.remedy)
  }
})
