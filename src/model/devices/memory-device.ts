/** Memory that is plugged in. Source: libvirt's "Domain XML format", memory devices. */
import { aCpuSet } from '../cpu-set.ts'
import { path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias } from './common.ts'

const size = (doc: string, xml: string) =>
  s.size(doc, { xml, unit: 'KiB', optional: true, min: 0, max: 2 ** 43 })

export const MemoryDevice = s.object(
  'MemoryDevice',
  'A module of memory',
  {
    model: s.choice('kind of module', ['dimm', 'nvdimm', 'virtio-pmem', 'virtio-mem', 'sgx-epc'], {
      xml: '@model',
    }),
    access: s.choice('whether others see what the guest writes', ['shared', 'private'], {
      xml: '@access',
      optional: true,
    }),
    discard: s.boolean('give the content up at the end', { xml: '@discard', as: 'yes-no', optional: true }),
    uuid: s.string('identity of an nvdimm', {
      xml: 'uuid',
      optional: true,
      normalize: 'uuid',
      pattern: /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u,
      patternName: 'a uuid',
    }),
    path: path('file or device that is the memory (nvdimm, virtio-pmem)', {
      xml: 'source/path',
      optional: true,
    }),
    alignKiB: size('alignment of the file', 'source/alignsize'),
    pmem: s.boolean('file on real persistent memory', {
      xml: 'source/pmem',
      as: 'presence',
      default: false,
    }),
    pageKiB: size('size of its pages on the host', 'source/pagesize'),
    nodemask: s.string('nodes of the host that it comes from', {
      xml: 'source/nodemask',
      optional: true,
      ...aCpuSet,
    }),
    sizeKiB: s.size('size', { xml: 'target/size', unit: 'KiB', min: 1, max: 2 ** 43 }),
    node: s.integer('cell of the guest', { xml: 'target/node', optional: true, min: 0, max: 127 }),
    labelKiB: size('part that holds labels (nvdimm)', 'target/label/size'),
    readonly: s.boolean('write protection (nvdimm)', {
      xml: 'target/readonly',
      as: 'presence',
      default: false,
    }),
    blockKiB: size('size of the steps (virtio-mem)', 'target/block'),
    requestedKiB: size('part that the guest shall have (virtio-mem)', 'target/requested'),
    guestAddress: s.string('place in the memory of the guest', {
      xml: 'target/address/@base',
      optional: true,
      pattern: /^0x[0-9a-fA-F]{1,16}$/u,
      patternName: "an address such as '0x140000000'",
    }),
    alias,
    address,
    unknown,
  },
  {
    order: {
      '.': words('@model @access @discard uuid source target alias address'),
      source: words('nodemask pagesize path alignsize pmem'),
      target: words('size node label readonly block requested current address'),
    },
    runtime: { 'target/current': 'size that the guest has now' },
  },
)
export type MemoryDevice = s.Output<typeof MemoryDevice>
