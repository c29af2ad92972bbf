/** Keyboards, mice and tablets. Source: libvirt's "Domain XML format", devices. */

import { unknown } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias } from './common.ts'

export const InputDevice = s.object('InputDevice', 'A keyboard, mouse or tablet', {
  type: s.choice('kind', ['tablet', 'mouse', 'keyboard'], { xml: '@type' }),
  bus: s.choice('kind of bus', ['usb', 'ps2', 'virtio'], { xml: '@bus', optional: true }),
  alias,
  address,
  unknown,
})

export type InputDevice = s.Output<typeof InputDevice>
