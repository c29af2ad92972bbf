/** Trusted platform modules. Source: libvirt's "Domain XML format", TPM device. */
import { path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias } from './common.ts'

export const Tpm = s.object(
  'Tpm',
  'A trusted platform module',
  {
    model: s.choice('interface', ['tpm-tis', 'tpm-crb', 'tpm-spapr'], {
      xml: '@model',
      optional: true,
      generated: true,
    }),
    backend: s.choice('who serves it', ['emulator', 'passthrough', 'external'], {
      xml: 'backend/@type',
      default: 'emulator',
    }),
    version: s.choice('version of the specification', ['1.2', '2.0'], {
      xml: 'backend/@version',
      optional: true,
      generated: true,
    }),
    persistentState: s.boolean('keep its state when the domain is removed', {
      xml: 'backend/@persistent_state',
      as: 'yes-no',
      optional: true,
    }),
    device: path('device on the host (passthrough)', { xml: 'backend/device/@path', optional: true }),
    sourceType: s.choice('kind of socket (external)', ['unix'], {
      xml: 'backend/source/@type',
      optional: true,
    }),
    sourceMode: s.choice('QEMU calls it (external)', ['connect'], {
      xml: 'backend/source/@mode',
      optional: true,
    }),
    socket: path('socket of the program that serves it (external)', {
      xml: 'backend/source/@path',
      optional: true,
    }),
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words('@model backend alias address'),
      backend: [
        '@type',
        '@version',
        '@persistent_state',
        'encryption',
        'device',
        'source',
        'active_pcr_banks',
      ],
      'backend/source': ['@type', '@mode', '@path'],
    },
  },
)
export type Tpm = s.Output<typeof Tpm>
