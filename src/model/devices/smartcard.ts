/** Smartcards in a reader of the guest. Source: libvirt's "Domain XML format", smartcard devices. */
import { path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { characterKinds, characterSource } from './character.ts'
import { address, alias, deviceOrder } from './common.ts'

export const Smartcard = s.object(
  'Smartcard',
  'A smartcard in a reader',
  {
    card: s.choice(
      'what the card is: that of the host, certificates of the host, or one at the other end of a line',
      ['host', 'host-certificates', 'passthrough'],
      { xml: '@mode' },
    ),
    type: s.choice('kind of line (passthrough)', characterKinds, { xml: '@type', optional: true }),
    ...characterSource,
    certificates: s.array(
      'names of the three certificates in the database',
      s.string('name', { minLength: 1, maxLength: 255 }),
      { xml: 'certificate', default: [], maxItems: 3 },
    ),
    database: path('folder of the database of certificates; /etc/pki/nssdb when absent', {
      xml: 'database',
      optional: true,
    }),
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words('@mode @type certificate database source source#2 protocol log', deviceOrder),
      source: words(
        '@mode @path @host @service @tls @tlsDirectory @append @channel @master @slave',
        'clipboard mouse reconnect',
      ),
    },
  },
)

export type Smartcard = s.Output<typeof Smartcard>
