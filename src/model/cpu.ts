/** The processor the guest sees. Source: libvirt's "Domain XML format", CPU model and topology. */
import { aCpuSet } from './cpu-set.ts'
import { unknown, words } from './domain-words.ts'
import * as s from './schema.ts'

const count = (doc: string, xml: string) => s.integer(doc, { xml, min: 1, max: 4096 })

export const CpuTopology = s.object('CpuTopology', 'Layout of the processors', {
  sockets: count('number of sockets', '@sockets'),
  dies: s.integer('dies in a socket', { xml: '@dies', optional: true, min: 1, max: 4096 }),
  clusters: s.integer('clusters in a die', { xml: '@clusters', optional: true, min: 1, max: 4096 }),
  cores: count('cores in a die or cluster', '@cores'),
  threads: count('threads in a core', '@threads'),
  unknown,
})

export const CpuFeature = s.object('CpuFeature', 'One processor feature', {
  policy: s.choice('treatment', ['force', 'require', 'optional', 'disable', 'forbid'], {
    xml: '@policy',
    default: 'require',
  }),
  name: s.string('name', {
    xml: '@name',
    maxLength: 64,
    pattern: /^[\w.-]+$/u,
    patternName: 'a feature name',
  }),
  unknown,
})

const NumaDistance = s.object('NumaDistance', 'How far another cell is', {
  cell: s.integer('number of the other cell', { xml: '@id', min: 0, max: 127 }),
  value: s.integer('distance; 10 is that to itself', { xml: '@value', min: 10, max: 255 }),
  unknown,
})

const NumaCache = s.object(
  'NumaCache',
  'A cache beside the memory of a cell',
  {
    level: s.integer('which of its caches, from 1', { xml: '@level', min: 1, max: 255 }),
    associativity: s.choice('where a line can be', ['none', 'direct', 'full'], { xml: '@associativity' }),
    policy: s.choice('when memory is written', ['none', 'writeback', 'writethrough'], { xml: '@policy' }),
    sizeKiB: s.size('size', { xml: 'size/@value', unit: 'KiB', min: 1, max: 2 ** 40, unitAttribute: true }),
    lineBytes: s.size('size of a line', {
      xml: 'line/@value',
      unit: 'bytes',
      min: 1,
      max: 65_535,
      unitAttribute: true,
    }),
    unknown,
  },
  { order: { '.': words('@level @associativity @policy size line') } },
)

const cellNumber = (doc: string, xml: string) => s.integer(doc, { xml, min: 0, max: 127 })
const way = {
  initiator: cellNumber('cell of the processors that ask', '@initiator'),
  target: cellNumber('cell of the memory', '@target'),
  cache: s.integer('level of the cache that answers; the memory without', {
    xml: '@cache',
    optional: true,
    min: 1,
    max: 3,
  }),
  access: s.choice('kind of access', ['access', 'read', 'write'], { xml: '@type' }),
} as const

const NumaLatency = s.object(
  'NumaLatency',
  'Time that memory takes to answer',
  { ...way, nanoseconds: s.integer('nanoseconds', { xml: '@value', min: 1, max: 65_535 }), unknown },
  { order: { '.': words('@initiator @target @cache @type @value') } },
)

const NumaBandwidth = s.object(
  'NumaBandwidth',
  'How much memory gives in a second',
  {
    ...way,
    kibPerSecond: s.size('KiB a second', {
      xml: '@value',
      unit: 'KiB',
      min: 1,
      max: 2 ** 43,
      unitAttribute: true,
    }),
    unknown,
  },
  { order: { '.': words('@initiator @target @cache @type @value @unit') } },
)

export const NumaCell = s.object(
  'NumaCell',
  'Processors and memory that are near each other',
  {
    id: s.integer('number; the place in the list when absent', {
      xml: '@id',
      optional: true,
      min: 0,
      max: 127,
    }),
    cpus: s.string('processors of the cell', { xml: '@cpus', optional: true, ...aCpuSet }),
    memoryKiB: s.size('memory of the cell', {
      xml: '@memory',
      unit: 'KiB',
      min: 1,
      max: 2 ** 43,
      unitAttribute: true,
    }),
    access: s.choice('whether others see what the guest writes there', ['shared', 'private'], {
      xml: '@memAccess',
      optional: true,
    }),
    discard: s.boolean('give the content up at the end instead of writing it to its file', {
      xml: '@discard',
      as: 'yes-no',
      optional: true,
    }),
    distances: s.array('distances to other cells', NumaDistance, {
      xml: 'distances/sibling',
      default: [],
      maxItems: 128,
      key: ['cell'],
    }),
    caches: s.array('caches beside its memory', NumaCache, {
      xml: 'cache',
      default: [],
      maxItems: 3,
      key: ['level'],
    }),
    unknown,
  },
  { order: { '.': words('@id @cpus @memory @unit @memAccess @discard distances cache') } },
)

export const Cpu = s.object(
  'Cpu',
  'The processor the guest sees',
  {
    mode: s.choice('origin of the model', ['custom', 'host-model', 'host-passthrough', 'maximum'], {
      xml: '@mode',
      default: 'custom',
    }),
    match: s.choice('strictness of the match', ['minimum', 'exact', 'strict'], {
      xml: '@match',
      optional: true,
    }),
    check: s.choice('check before the start', ['none', 'partial', 'full'], { xml: '@check', optional: true }),
    migratable: s.boolean('restriction to features that can move to another host', {
      xml: '@migratable',
      as: 'on-off',
      optional: true,
    }),
    model: s.string('name of the model', {
      xml: 'model',
      optional: true,
      maxLength: 128,
      pattern: /^[\w.-]+$/u,
      patternName: 'a model name',
    }),
    fallback: s.choice('leave to take a similar model', ['allow', 'forbid'], {
      xml: 'model/@fallback',
      optional: true,
    }),
    vendorId: s.string("what the guest reads as the maker's name, 12 characters", {
      xml: 'model/@vendor_id',
      optional: true,
      pattern: /^[^,\p{Cc}]{12}$/u,
      patternName: '12 characters without commas',
    }),
    vendor: s.string('maker that the host processor must be of', {
      xml: 'vendor',
      optional: true,
      maxLength: 64,
      pattern: /^[\w.-]+$/u,
      patternName: 'a name',
    }),
    topology: s.field(CpuTopology, { xml: 'topology', optional: true }),
    cacheMode: s.choice(
      'origin of what the guest reads about caches',
      ['emulate', 'passthrough', 'disable'],
      {
        xml: 'cache/@mode',
        optional: true,
      },
    ),
    cacheLevel: s.integer('which cache is meant; all without', {
      xml: 'cache/@level',
      optional: true,
      min: 1,
      max: 3,
    }),
    addressBitsMode: s.choice('origin of the width of physical addresses', ['emulate', 'passthrough'], {
      xml: 'maxphysaddr/@mode',
      optional: true,
    }),
    addressBits: s.integer('width of physical addresses', {
      xml: 'maxphysaddr/@bits',
      optional: true,
      min: 32,
      max: 64,
    }),
    features: s.array('features', CpuFeature, { xml: 'feature', default: [], maxItems: 512, key: ['name'] }),
    numa: s.array('cells of processors and memory', NumaCell, {
      xml: 'numa/cell',
      default: [],
      maxItems: 128,
      key: ['id'],
    }),
    numaLatencies: s.array('times that memory takes to answer', NumaLatency, {
      xml: 'numa/interconnects/latency',
      default: [],
      maxItems: 4096,
    }),
    numaBandwidths: s.array('rates of memory', NumaBandwidth, {
      xml: 'numa/interconnects/bandwidth',
      default: [],
      maxItems: 4096,
    }),
    unknown,
  },
  {
    order: {
      '.': words('@mode @match @check @migratable model vendor topology cache maxphysaddr', 'feature numa'),
      model: ['@fallback', '@vendor_id'],
      cache: ['@level', '@mode'],
      maxphysaddr: ['@mode', '@bits', '@limit'],
      numa: ['cell', 'interconnects'],
      'numa/interconnects': ['latency', 'bandwidth'],
    },
  },
)

export type Cpu = s.Output<typeof Cpu>
export type NumaCell = s.Output<typeof NumaCell>
