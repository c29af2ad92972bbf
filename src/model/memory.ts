/** Where the guest's memory comes from. Source: libvirt's "Domain XML format", memory and NUMA tuning. */
import { aCpuSet } from './cpu-set.ts'
import { unknown, words } from './domain-words.ts'
import * as s from './schema.ts'

const HugePage = s.object(
  'HugePage',
  'A size of huge pages',
  {
    sizeKiB: s.size('size of a page', {
      xml: '@size',
      unit: 'KiB',
      min: 4,
      max: 2 ** 30,
      unitAttribute: true,
    }),
    nodeset: s.string('cells of the guest that use it; all without', {
      xml: '@nodeset',
      optional: true,
      ...aCpuSet,
    }),
    unknown,
  },
  { order: { '.': words('@size @unit @nodeset') } },
)

const HugePages = s.object('HugePages', 'Huge pages, of the default size when none is named', {
  pages: s.array('sizes', HugePage, { xml: 'page', default: [], maxItems: 16 }),
  unknown,
})

export const MemoryBacking = s.object(
  'MemoryBacking',
  'Way the host keeps the memory',
  {
    hugePages: s.field(HugePages, { xml: 'hugepages', optional: true }),
    noSharePages: s.boolean('no merging of equal pages of several guests', {
      xml: 'nosharepages',
      as: 'presence',
      default: false,
    }),
    locked: s.boolean('never to be swapped out', { xml: 'locked', as: 'presence', default: false }),
    source: s.choice('kind of memory', ['file', 'anonymous', 'memfd'], {
      xml: 'source/@type',
      optional: true,
    }),
    access: s.choice('whether others see what the guest writes', ['shared', 'private'], {
      xml: 'access/@mode',
      optional: true,
    }),
    allocation: s.choice('time at which the host provides it', ['immediate', 'ondemand'], {
      xml: 'allocation/@mode',
      optional: true,
    }),
    allocationThreads: s.integer('threads that provide it', {
      xml: 'allocation/@threads',
      optional: true,
      min: 1,
      max: 1024,
    }),
    discard: s.boolean('give the content up at the end instead of writing it to its file', {
      xml: 'discard',
      as: 'presence',
      default: false,
    }),
    unknown,
  },
  { order: { '.': words('hugepages nosharepages locked source access allocation discard') } },
)

export const numaModes = ['strict', 'interleave', 'preferred', 'restrictive'] as const

const NumaMemory = s.object('NumaMemory', 'Where the memory of one cell is kept', {
  cell: s.integer('cell of the guest', { xml: '@cellid', min: 0, max: 127 }),
  mode: s.choice('strictness', numaModes, { xml: '@mode', default: 'strict' }),
  nodeset: s.string('nodes of the host', { xml: '@nodeset', ...aCpuSet }),
  unknown,
})

export const NumaTune = s.object('NumaTune', 'Nodes of the host that memory comes from', {
  mode: s.choice('strictness', numaModes, { xml: 'memory/@mode', optional: true }),
  nodeset: s.string('nodes of the host', { xml: 'memory/@nodeset', optional: true, ...aCpuSet }),
  placement: s.choice('who chooses the nodes', ['static', 'auto'], {
    xml: 'memory/@placement',
    optional: true,
  }),
  cells: s.array('nodes for single cells', NumaMemory, {
    xml: 'memnode',
    default: [],
    maxItems: 128,
    key: ['cell'],
  }),
  unknown,
})

export type MemoryBacking = s.Output<typeof MemoryBacking>
export type NumaTune = s.Output<typeof NumaTune>
