/**
 * What a domain shall be: libvirt's `<domain>` as a typed description.
 *
 * Source: libvirt's "Domain XML format" (formatdomain). Fields stand in the order in which libvirt prints
 * them. To add an element, add its entry here: type, parsers, printers, JSON schema and reference follow.
 * What has no entry is kept in `unknown` and refused by drivers, unless it is listed as inert here.
 */
import { Devices } from './devices/index.ts'
import { aName, path, unknown, words } from './domain-words.ts'
import * as s from './schema.ts'

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/u

const processors = (doc: string, xml: string) => s.integer(doc, { xml, min: 1, max: 4096 })

export const CpuTopology = s.object('CpuTopology', 'Layout of the processors', {
  sockets: processors('number of sockets', '@sockets'),
  dies: s.integer('dies in a socket', { xml: '@dies', optional: true, min: 1, max: 4096 }),
  cores: processors('cores in a die', '@cores'),
  threads: processors('threads in a core', '@threads'),
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
    topology: s.field(CpuTopology, { xml: 'topology', optional: true }),
    features: s.array('features', CpuFeature, { xml: 'feature', default: [], maxItems: 512, key: ['name'] }),
    unknown,
  },
  {
    order: {
      '.': words('@mode @match @check @migratable model vendor topology cache maxphysaddr', 'feature numa'),
    },
  },
)

const bootDevice = s.choice('device', ['hd', 'cdrom', 'network', 'fd'])

export const OperatingSystem = s.object(
  'OperatingSystem',
  'Way the machine boots',
  {
    type: s.choice('kind of guest', ['hvm'], { xml: 'type', default: 'hvm' }),
    arch: s.string('architecture', {
      xml: 'type/@arch',
      optional: true,
      generated: true,
      maxLength: 32,
      pattern: /^[a-z0-9_]+$/u,
      patternName: 'an architecture',
    }),
    machine: s.string('machine type', {
      xml: 'type/@machine',
      optional: true,
      generated: true,
      maxLength: 64,
      pattern: /^[\w.-]+$/u,
      patternName: 'a machine type',
    }),
    kernel: path('kernel to boot directly', { xml: 'kernel', optional: true }),
    initrd: path('initial RAM disk of the kernel', { xml: 'initrd', optional: true }),
    commandLine: s.string('command line of the kernel', { xml: 'cmdline', optional: true, maxLength: 4096 }),
    boot: s.array('devices to boot from, in order', bootDevice, {
      xml: 'boot/@dev',
      default: [],
      maxItems: 4,
    }),
    bootMenu: s.boolean('menu of boot devices at start', {
      xml: 'bootmenu/@enable',
      as: 'yes-no',
      optional: true,
    }),
    unknown,
  },
  {
    order: {
      '.': words(
        '@firmware type firmware init initarg initenv initdir inituser initgroup',
        'loader nvram kernel initrd cmdline dtb acpi boot bootmenu bios smbios',
      ),
    },
  },
)

export const Features = s.object(
  'Features',
  'Features of the machine',
  {
    acpi: s.boolean('power management tables', { xml: 'acpi', as: 'presence', default: false }),
    apic: s.boolean('interrupt controller', { xml: 'apic', as: 'presence', default: false }),
    pae: s.boolean('physical addresses of more than 32 bits', { xml: 'pae', as: 'presence', default: false }),
    vmport: s.boolean("VMware's port for the mouse", { xml: 'vmport/@state', as: 'on-off', optional: true }),
    unknown,
  },
  {
    order: {
      '.': words(
        'acpi apic pae hap viridian privnet hyperv kvm pvspinlock capabilities pmu vmport gic smm ioapic hpt',
        'vmcoreinfo htm nested-hv msrs ccf-assist xen cfpc sbbc ibs tcg async-teardown',
      ),
    },
  },
)

export const Timer = s.object('Timer', 'A clock chip or clock protocol', {
  name: s.choice('name', ['rtc', 'pit', 'hpet', 'kvmclock', 'tsc', 'hypervclock', 'platform', 'armvtimer'], {
    xml: '@name',
  }),
  present: s.boolean('presence', { xml: '@present', as: 'yes-no', optional: true }),
  tickPolicy: s.choice('fate of ticks that were missed', ['delay', 'catchup', 'merge', 'discard'], {
    xml: '@tickpolicy',
    optional: true,
  }),
  unknown,
})

export const Clock = s.object('Clock', 'The clock the guest sees', {
  offset: s.choice('time it starts from', ['utc', 'localtime'], { xml: '@offset', default: 'utc' }),
  timers: s.array('clock chips', Timer, { xml: 'timer', default: [], maxItems: 16, key: ['name'] }),
  unknown,
})

export const PowerManagement = s.object('PowerManagement', 'Sleep states offered to the guest', {
  suspendToMemory: s.boolean('sleep with the memory powered (S3)', {
    xml: 'suspend-to-mem/@enabled',
    as: 'yes-no',
    optional: true,
  }),
  suspendToDisk: s.boolean('sleep with the memory on disk (S4)', {
    xml: 'suspend-to-disk/@enabled',
    as: 'yes-no',
    optional: true,
  }),
  unknown,
})

const lifecycleAction = ['destroy', 'restart', 'preserve', 'rename-restart'] as const

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
    memoryKiB: s.size('memory at start, the most there can be', {
      xml: 'memory',
      unit: 'KiB',
      min: 1024,
      max: 2 ** 43,
    }),
    currentMemoryKiB: s.size('memory given by the balloon', {
      xml: 'currentMemory',
      unit: 'KiB',
      optional: true,
      min: 1,
      max: 2 ** 43,
    }),
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
    currentVcpus: s.integer('virtual processors at start', {
      xml: 'vcpu/@current',
      optional: true,
      min: 1,
      max: 4096,
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
    onCrash: s.choice('action after a crash', lifecycleAction, { xml: 'on_crash', default: 'destroy' }),
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
export type Cpu = s.Output<typeof Cpu>
