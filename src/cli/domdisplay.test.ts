import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Graphics, parse } from '../model/index.ts'
import { displayOf } from './commands/domdisplay.ts'

test('screens are told as viewers want them', () => {
  const of = (screen: object) => displayOf(parse(Graphics, screen))
  assert.deepEqual(of({ type: 'vnc', port: 5901 }), ['vnc://127.0.0.1:1'])
  assert.deepEqual(of({ type: 'spice', port: 5930, listen: '::1' }), ['spice://[::1]:5930'])
  assert.deepEqual(of({ type: 'spice', socket: '/run/a.sock' }), ['spice+unix:///run/a.sock'])
  assert.deepEqual(of({ type: 'vnc', port: -1, autoport: true }), [])
  assert.deepEqual(of({ type: 'egl-headless' }), [])
})
