/** Threads of the guest and where they run. Source: libvirt's "Domain XML format", CPU allocation and tuning. */
import { aCpuSet } from './cpu-set.ts'
import { unknown, words } from './domain-words.ts'
import * as s from './schema.ts'

const number = (doc: string, xml: string, max = 4095) => s.integer(doc, { xml, min: 0, max })

export const VcpuState = s.object('VcpuState', 'One virtual processor', {
  id: number('number', '@id'),
  enabled: s.boolean('whether it is there at the start', { xml: '@enabled', as: 'yes-no', default: true }),
  hotpluggable: s.boolean('whether it can be added and taken away while the guest runs', {
    xml: '@hotpluggable',
    as: 'yes-no',
    optional: true,
  }),
  order: s.integer('place in the order of plugging, from 1', {
    xml: '@order',
    optional: true,
    min: 1,
    max: 4096,
  }),
  unknown,
})

export const IoThread = s.object(
  'IoThread',
  'A thread that serves disks',
  {
    id: s.integer('number, from 1', { xml: '@id', min: 1, max: 4095 }),
    minimumWorkers: s.integer('fewest worker threads', {
      xml: '@thread_pool_min',
      optional: true,
      min: 0,
      max: 4096,
    }),
    maximumWorkers: s.integer('most worker threads', {
      xml: '@thread_pool_max',
      optional: true,
      min: 1,
      max: 4096,
    }),
    pollMaximumNs: s.integer('longest time it polls', {
      xml: 'poll/@max',
      optional: true,
      min: 0,
      max: 2 ** 40,
    }),
    pollGrow: s.integer('factor by which polling grows', {
      xml: 'poll/@grow',
      optional: true,
      min: 0,
      max: 1024,
    }),
    pollShrink: s.integer('divisor by which polling shrinks', {
      xml: 'poll/@shrink',
      optional: true,
      min: 0,
      max: 1024,
    }),
    unknown,
  },
  { order: { '.': ['@id', '@thread_pool_min', '@thread_pool_max', 'poll'] } },
)

const VcpuPin = s.object('VcpuPin', 'Host processors of one virtual processor', {
  vcpu: number('virtual processor', '@vcpu'),
  cpuset: s.string('host processors', { xml: '@cpuset', ...aCpuSet }),
  unknown,
})

const IoThreadPin = s.object('IoThreadPin', 'Host processors of one I/O thread', {
  iothread: s.integer('number of the thread', { xml: '@iothread', min: 1, max: 4095 }),
  cpuset: s.string('host processors', { xml: '@cpuset', ...aCpuSet }),
  unknown,
})

const scheduler = s.choice('way of scheduling', ['idle', 'batch', 'rr', 'fifo'], { xml: '@scheduler' })
const priority = s.integer('priority of rr and fifo', { xml: '@priority', optional: true, min: 1, max: 99 })

const VcpuScheduler = s.object('VcpuScheduler', 'How virtual processors are scheduled', {
  vcpus: s.string('virtual processors', { xml: '@vcpus', ...aCpuSet }),
  scheduler,
  priority,
  unknown,
})

const IoThreadScheduler = s.object('IoThreadScheduler', 'How I/O threads are scheduled', {
  iothreads: s.string('numbers of the threads', { xml: '@iothreads', ...aCpuSet }),
  scheduler,
  priority,
  unknown,
})

const list = { default: [], maxItems: 4096 } as const

const period = (xml: string) =>
  s.integer('period of the quota, microseconds', { xml, optional: true, min: 1000, max: 1_000_000 })
const quota = (whose: string, xml: string) =>
  s.integer(`processor time of ${whose} in each period, microseconds; -1 for all`, {
    xml,
    optional: true,
    min: -1,
    max: 2 ** 53 - 1,
  })

export const CpuTune = s.object(
  'CpuTune',
  'Where and how the threads of the guest run',
  {
    shares: s.integer('weight against others; to 10000 on hosts with cgroup v2', {
      xml: 'shares',
      optional: true,
      min: 1,
      max: 262_144,
    }),
    vcpuPeriodUs: period('period'),
    vcpuQuotaUs: quota('each virtual processor', 'quota'),
    globalPeriodUs: period('global_period'),
    globalQuotaUs: quota('the whole machine', 'global_quota'),
    emulatorPeriodUs: period('emulator_period'),
    emulatorQuotaUs: quota('the threads that are neither processors nor I/O threads', 'emulator_quota'),
    iothreadPeriodUs: period('iothread_period'),
    iothreadQuotaUs: quota('each I/O thread', 'iothread_quota'),
    vcpuPins: s.array('host processors of virtual processors', VcpuPin, {
      ...list,
      xml: 'vcpupin',
      key: ['vcpu'],
    }),
    emulatorPin: s.string('host processors of the emulator', {
      xml: 'emulatorpin/@cpuset',
      optional: true,
      ...aCpuSet,
    }),
    iothreadPins: s.array('host processors of I/O threads', IoThreadPin, {
      ...list,
      xml: 'iothreadpin',
      key: ['iothread'],
    }),
    vcpuSchedulers: s.array('scheduling of virtual processors', VcpuScheduler, { ...list, xml: 'vcpusched' }),
    iothreadSchedulers: s.array('scheduling of I/O threads', IoThreadScheduler, {
      ...list,
      xml: 'iothreadsched',
    }),
    emulatorScheduler: s.choice('way the emulator is scheduled', ['idle', 'batch', 'rr', 'fifo'], {
      xml: 'emulatorsched/@scheduler',
      optional: true,
    }),
    emulatorPriority: s.integer('priority of rr and fifo', {
      xml: 'emulatorsched/@priority',
      optional: true,
      min: 1,
      max: 99,
    }),
    unknown,
  },
  {
    order: {
      '.': words(
        'shares period quota global_period global_quota emulator_period emulator_quota iothread_period',
        'iothread_quota vcpupin emulatorpin iothreadpin emulatorsched vcpusched iothreadsched cachetune memorytune',
      ),
    },
  },
)

export type CpuTune = s.Output<typeof CpuTune>
export type IoThread = s.Output<typeof IoThread>
