/** What notices a guest that hangs or crashes. Source: libvirt's "Domain XML format", watchdog and panic devices. */
import { unknown } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias } from './common.ts'

export const Watchdog = s.object('Watchdog', 'A watchdog: a guest that does not feed it hangs', {
  model: s.choice('model', ['itco', 'i6300esb', 'ib700', 'diag288'], { xml: '@model', names: true }),
  action: s.choice(
    'what happens to a guest that hangs',
    ['reset', 'shutdown', 'poweroff', 'pause', 'none', 'dump', 'inject-nmi'],
    { xml: '@action', default: 'reset' },
  ),
  alias,
  address,
  unknown,
})

export const Panic = s.object('Panic', 'A device by which a guest tells that it crashed', {
  model: s.choice('model', ['isa', 'pvpanic', 'hyperv', 'pseries', 's390'], {
    xml: '@model',
    optional: true,
  }),
  alias,
  address,
  unknown,
})

export type Watchdog = s.Output<typeof Watchdog>
export type Panic = s.Output<typeof Panic>
