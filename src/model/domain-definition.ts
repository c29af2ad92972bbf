/**
 * What a domain shall be: libvirt's `<domain>` as a typed description.
 *
 * Source: libvirt's "Domain XML format" (formatdomain). Fields stand in the order in which libvirt prints
 * them. To add an element, add its entry here: type, parsers, printers, JSON schema and reference follow.
 * What has no entry is kept in `unknown` and refused by drivers, unless it is listed as inert here.
 */
import { Clock, PowerManagement } from './clock.ts'
import { Cpu } from './cpu.ts'
import { aCpuSet } from './cpu-set.ts'
import { Devices } from './devices/index.ts'
import { aName, unknown, words } from './domain-words.ts'
import { Features } from './features.ts'
import { MemoryBacking, NumaTune } from './memory.ts'
import { OperatingSystem, SystemInformation } from './os.ts'
import { CpuTune, IoThread, VcpuState } from './processors.ts'
import { BlockTune, MemoryTune } from './resource-limits.ts'
import * as s from './schema.ts'

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/u

const lifecycleAction = ['destroy', 'restart', 'preserve', 'rename-restart'] as const
const crashAction = [...lifecycleAction, 'coredump-destroy', 'coredump-restart'] as const

export const DomainDefinition = s.object(
  'DomainDefinition',
  'A virtual machine or container, as wanted',
  {
    type: s.choice('kind of hypervisor', ['qemu', 'kvm', 'v86', 'test'], { xml: '@type', inert: true }),
    name: s.string('name, one of a kind on its host', {
      xml: 'name',
      inert: true,
      minLength: 1,
      maxLength: 255,
      ...aName,
    }),
    uuid: s.string('identity; made by visor when absent', {
      xml: 'uuid',
      optional: true,
      generated: true,
      inert: true,
      normalize: 'uuid',
      pattern: uuid,
      patternName: "a uuid such as '6695eb01-f6a4-8304-79aa-97f2502e193f'",
    }),
    genid: s.string('number that changes whenever the guest goes back in time', {
      xml: 'genid',
      optional: true,
      normalize: 'uuid',
      pattern: uuid,
      patternName: 'a uuid',
    }),
    title: s.string('one line about it', {
      xml: 'title',
      optional: true,
      inert: true,
      maxLength: 1024,
      pattern: /^[^\n]*$/u,
      patternName: 'one line',
    }),
    description: s.string('any text about it', {
      xml: 'description',
      optional: true,
      inert: true,
      maxLength: 65536,
    }),
    metadata: s.fragment('data of other programs, kept as written', {
      xml: 'metadata',
      optional: true,
      inert: true,
    }),
    maxMemoryKiB: s.size('memory with all modules that can be plugged in', {
      xml: 'maxMemory',
      unit: 'KiB',
      optional: true,
      min: 1024,
      max: 2 ** 43,
    }),
    memorySlots: s.integer('places for modules of memory', {
      xml: 'maxMemory/@slots',
      optional: true,
      min: 1,
      max: 256,
    }),
    memoryKiB: s.size('memory at start, the most there can be', {
      xml: 'memory',
      unit: 'KiB',
      min: 1024,
      max: 2 ** 43,
    }),
    dumpCore: s.boolean('whether a core dump of the emulator has the memory', {
      xml: 'memory/@dumpCore',
      as: 'on-off',
      optional: true,
    }),
    currentMemoryKiB: s.size('memory given by the balloon', {
      xml: 'currentMemory',
      unit: 'KiB',
      optional: true,
      min: 1,
      max: 2 ** 43,
    }),
    blkiotune: s.field(BlockTune, { xml: 'blkiotune', optional: true }),
    memtune: s.field(MemoryTune, { xml: 'memtune', optional: true }),
    memoryBacking: s.field(MemoryBacking, { xml: 'memoryBacking', optional: true }),
    vcpus: s.integer('virtual processors, the most there can be', {
      xml: 'vcpu',
      default: 1,
      min: 1,
      max: 4096,
    }),
    vcpuPlacement: s.choice('placement on host processors', ['static', 'auto'], {
      xml: 'vcpu/@placement',
      default: 'static',
    }),
    vcpuCpuset: s.string('host processors that all threads may run on', {
      xml: 'vcpu/@cpuset',
      optional: true,
      ...aCpuSet,
    }),
    currentVcpus: s.integer('virtual processors at start', {
      xml: 'vcpu/@current',
      optional: true,
      min: 1,
      max: 4096,
    }),
    vcpuStates: s.array('single virtual processors', VcpuState, {
      xml: 'vcpus/vcpu',
      default: [],
      maxItems: 4096,
      key: ['id'],
    }),
    iothreads: s.integer('threads that serve disks', {
      xml: 'iothreads',
      optional: true,
      min: 0,
      max: 256,
    }),
    iothreadIds: s.array('these threads one by one', IoThread, {
      xml: 'iothreadids/iothread',
      default: [],
      maxItems: 256,
      key: ['id'],
    }),
    defaultWorkersMinimum: s.integer('fewest worker threads of the main thread', {
      xml: 'defaultiothread/@thread_pool_min',
      optional: true,
      min: 0,
      max: 4096,
    }),
    defaultWorkersMaximum: s.integer('most worker threads of the main thread', {
      xml: 'defaultiothread/@thread_pool_max',
      optional: true,
      min: 1,
      max: 4096,
    }),
    cputune: s.field(CpuTune, { xml: 'cputune', optional: true }),
    numatune: s.field(NumaTune, { xml: 'numatune', optional: true }),
    sysinfo: s.array('what the guest reads about its machine', SystemInformation, {
      xml: 'sysinfo',
      default: [],
      maxItems: 2,
      key: ['type'],
    }),
    os: s.field(OperatingSystem, { xml: 'os', default: {} }),
    features: s.field(Features, { xml: 'features', default: {} }),
    cpu: s.field(Cpu, { xml: 'cpu', optional: true }),
    clock: s.field(Clock, { xml: 'clock', default: {} }),
    onPoweroff: s.choice('action after a power-off', lifecycleAction, {
      xml: 'on_poweroff',
      default: 'destroy',
    }),
    onReboot: s.choice('action after a reboot', lifecycleAction, { xml: 'on_reboot', default: 'restart' }),
    onCrash: s.choice('action after a crash', crashAction, { xml: 'on_crash', default: 'destroy' }),
    powerManagement: s.field(PowerManagement, { xml: 'pm', optional: true }),
    devices: s.field(Devices, { xml: 'devices', default: {} }),
    unknown,
  },
  {
    xml: 'domain',
    order: {
      '.': words(
        '@type name uuid genid title description metadata maxMemory memory',
        'currentMemory blkiotune memtune memoryBacking vcpu vcpus iothreads iothreadids',
        'defaultiothread cputune numatune resource sysinfo bootloader bootloader_args os',
        'idmap throttlegroups features cpu clock on_poweroff on_reboot on_crash',
        'on_lockfailure pm perf devices seclabel keywrap launchSecurity',
      ),
      vcpu: ['@placement', '@cpuset', '@current'],
      maxMemory: ['@slots', '@unit'],
      memory: ['@dumpCore', '@unit'],
      defaultiothread: ['@thread_pool_min', '@thread_pool_max'],
    },
    runtime: { '@id': 'number of the running machine' },
    inertXml: {
      resource: {
        reason: "libvirt's own control group; visor has its own",
        when: /^<resource>\s*<partition>\/machine<\/partition>\s*<\/resource>$/u,
      },
      seclabel: {
        reason: 'no label is wanted, or one that libvirt makes up; visor confines guests without labels',
        when: /^<seclabel\s[^<>]*type=["'](?:none|dynamic)["'][^<>]*(?:\/>|>\s*<\/seclabel>)$/u,
      },
    },
  },
)

/** A domain as wanted, complete with its defaults. */
export type DomainDefinition = s.Output<typeof DomainDefinition>
/** A domain as a person or program writes it. */
export type DomainDefinitionInput = s.Input<typeof DomainDefinition>
