/** Sockets and memory between host and guest, and ciphers. Source: libvirt's "Domain XML format", devices. */
import { aName, path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias } from './common.ts'

export const Vsock = s.object('Vsock', 'Sockets between host and guest (vsock)', {
  model: s.choice('model', ['virtio', 'virtio-transitional', 'virtio-non-transitional'], {
    xml: '@model',
    default: 'virtio',
  }),
  auto: s.boolean('choice of an address', { xml: 'cid/@auto', as: 'yes-no', optional: true }),
  cid: s.integer('address of the guest', {
    xml: 'cid/@address',
    optional: true,
    generated: true,
    min: 3,
    max: 2 ** 32 - 2,
  }),
  alias,
  address,
  unknown,
})

export const SharedMemory = s.object(
  'SharedMemory',
  'Memory that guests share (ivshmem)',
  {
    name: s.string('name of the memory', { xml: '@name', maxLength: 64, ...aName }),
    role: s.choice('whether its content moves with the guest', ['master', 'peer'], {
      xml: '@role',
      optional: true,
    }),
    model: s.choice('model', ['ivshmem-plain', 'ivshmem-doorbell', 'ivshmem'], {
      xml: 'model/@type',
      default: 'ivshmem-plain',
    }),
    sizeKiB: s.size('size', {
      xml: 'size',
      unit: 'KiB',
      largestUnit: true,
      optional: true,
      min: 1,
      max: 2 ** 43,
    }),
    server: path('socket of the ivshmem server', { xml: 'server/@path', optional: true }),
    vectors: s.integer('interrupts (ivshmem-doorbell)', {
      xml: 'msi/@vectors',
      optional: true,
      min: 1,
      max: 2048,
    }),
    ioeventfd: s.boolean('interrupts without QEMU in between', {
      xml: 'msi/@ioeventfd',
      as: 'on-off',
      optional: true,
    }),
    alias,
    address,
    unknown,
  },
  { order: { '.': words('@name @role model size server msi alias address') } },
)

export const Crypto = s.object('Crypto', 'A device that encrypts (virtio-crypto)', {
  model: s.choice('model', ['virtio'], { xml: '@model', default: 'virtio' }),
  type: s.choice('kind of host side', ['qemu'], { xml: '@type', default: 'qemu' }),
  backend: s.choice('who encrypts', ['builtin', 'lkcf'], { xml: 'backend/@model', default: 'builtin' }),
  queues: s.integer('number of queues', { xml: 'backend/@queues', optional: true, min: 1, max: 64 }),
  alias,
  address,
  unknown,
})

export type Vsock = s.Output<typeof Vsock>
export type SharedMemory = s.Output<typeof SharedMemory>
export type Crypto = s.Output<typeof Crypto>
