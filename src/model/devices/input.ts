/** Keyboards, mice and tablets. Source: libvirt's "Domain XML format", devices. */

import { path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias } from './common.ts'

export const InputDevice = s.object(
  'InputDevice',
  'A keyboard, mouse or tablet, or an input device of the host',
  {
    type: s.choice('kind', ['tablet', 'mouse', 'keyboard', 'passthrough', 'evdev'], { xml: '@type' }),
    bus: s.choice('kind of bus', ['usb', 'ps2', 'virtio'], { xml: '@bus', optional: true }),
    hostDevice: path('input device of the host that the guest gets (passthrough)', {
      xml: 'source/@evdev',
      optional: true,
    }),
    eventDevice: path('input device of the host whose events go to the keyboard or mouse (evdev)', {
      xml: 'source/@dev',
      optional: true,
    }),
    grab: s.choice('whether switching takes all such devices (evdev)', ['all'], {
      xml: 'source/@grab',
      optional: true,
    }),
    grabToggle: s.choice(
      'keys that switch between host and guest (evdev)',
      ['ctrl-ctrl', 'alt-alt', 'shift-shift', 'meta-meta', 'scrolllock', 'ctrl-scrolllock'],
      { xml: 'source/@grabToggle', optional: true },
    ),
    repeat: s.boolean('whether keys that are held repeat (evdev)', {
      xml: 'source/@repeat',
      as: 'on-off',
      optional: true,
    }),
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words('@type @bus @model driver alias source address'),
      source: words('@dev @evdev @grab @grabToggle @repeat'),
    },
  },
)

export type InputDevice = s.Output<typeof InputDevice>
