import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { InputDevice } from '../../../model/index.ts'
import { partArguments } from '../definition/parts.ts'
import { driverPaths } from '../paths.ts'
import type { Place } from './device-place.ts'
import { inputParts } from './inputs.ts'

const place: Place = { family: 'q35', paths: driverPaths('/', '/').of('none'), drives: new Map() }
const parts = (one: InputDevice) => inputParts(one, 0, place).flatMap(partArguments)

test('input devices of the host have paths with commas and spaces', () => {
  const device = '/dev/input/by-id/a, b'
  for (const one of [
    { type: 'evdev', eventDevice: device, alias: 'input0' },
    { type: 'passthrough', bus: 'virtio', hostDevice: device, alias: 'input0' },
  ] as const) {
    const [, said = ''] = parts(one)
    assert.match(said, /evdev=\/dev\/input\/by-id\/a,, b(,|$)/u)
  }
})

test('what means nothing to an input device is refused', () => {
  const cases: readonly (readonly [InputDevice, string])[] = [
    [{ type: 'evdev' }, 'eventDevice'],
    [{ type: 'evdev', bus: 'usb', eventDevice: '/dev/input/event0' }, 'bus'],
    [{ type: 'passthrough', bus: 'virtio' }, 'hostDevice'],
    [{ type: 'passthrough', bus: 'usb', hostDevice: '/dev/input/event0' }, 'bus'],
    [{ type: 'evdev', eventDevice: '/dev/input/event0', hostDevice: '/dev/input/event1' }, 'hostDevice'],
    [{ type: 'mouse', bus: 'usb', repeat: true }, 'repeat'],
  ]
  for (const [one, field] of cases)
    assert.throws(() => parts(one), { code: 'unsupported-config', path: `devices.inputs[0].${field}` })
})
