/**
 * The one table of what a connection can do. From it come `supports()`, the refusal of what is not
 * supported, the access check, the names and schemas of REST and its OpenAPI document, and docs/support.md.
 *
 * To add an operation: its method in `connection.ts`, its row here, and the drivers that can do it.
 */
import {
  aCpuSet,
  BlockDeviceLimits,
  Capabilities,
  Devices,
  Domain,
  DomainDefinition,
  DomainStats,
  domainStates,
  HostInfo,
  Job,
  keyCodesets,
  MigrationSummary,
  schema as s,
  Timeline,
} from '../model/index.ts'
import type { Connection } from './connection.ts'
import type { Operation, PartTable } from './operation.ts'
import { agentOperations } from './parts/agent.ts'
import { blockOperations } from './parts/blocks.ts'
import { groupOperations } from './parts/groups.ts'
import { hostBridgeOperations } from './parts/host-bridges.ts'
import { imageOperations } from './parts/images.ts'
import { AdjustMigration, MigrateDomain, migrationOperations, SettleMigration } from './parts/migrations.ts'
import { networkOperations } from './parts/networks.ts'
import { nwfilterOperations } from './parts/nwfilters.ts'
import { poolOperations, volumeOperations } from './parts/pools.ts'
import { publicationOperations } from './parts/publications.ts'
import { reachOperations } from './parts/reach.ts'
import { scheduleOperations } from './parts/schedules.ts'
import { secretOperations } from './parts/secrets.ts'
import { checkpointOperations, snapshotOperations } from './parts/snapshots.ts'
import { templateOperations } from './parts/templates.ts'
import { uploadOperations } from './parts/uploads.ts'

type Part =
  | 'host'
  | 'domains'
  | 'snapshots'
  | 'checkpoints'
  | 'blocks'
  | 'agent'
  | 'templates'
  | 'migrations'
  | 'networks'
  | 'nwfilters'
  | 'hostBridges'
  | 'groups'
  | 'publications'
  | 'reach'
  | 'images'
  | 'pools'
  | 'volumes'
  | 'uploads'
  | 'secrets'
  | 'schedules'
  | 'jobs'
/** Every part and method of {@link Connection}; the compiler holds the table complete. */
type Table = { readonly [P in Part]: PartTable<Required<Connection>[P]> }

const device = s.string('alias of the serial port or console', { optional: true })
const mode = s.choice('how the guest is asked', ['auto', 'acpi', 'agent'], { optional: true })
const stateFile = s.string('file on the host, an absolute path', {
  optional: true,
  pattern: /^\//u,
  patternName: 'an absolute path',
})
const paused = s.boolean('leave the processors stopped', { optional: true })
const strings = <const D extends string>(doc: D) => s.array(doc, s.string('text'), { optional: true })

const live = s.boolean('of the running machine; what runs without either', { optional: true })
const config = s.boolean('of the definition for the next start', { optional: true })
const limit = <const D extends string>(doc: D, min: number, max: number) =>
  s.integer(doc, { optional: true, min, max })
const mostUs = 2 ** 53 - 1
const oneDevice = s.field(Devices, {})

// Named, not inferred: the whole of it is more than a compiler writes into declarations.
export const operations: Table = {
  host: {
    info: { access: 'read', doc: 'What the host is.', result: HostInfo },
    capabilities: {
      access: 'read',
      doc: 'What each driver can do on this host.',
      result: s.array('one per driver', Capabilities),
    },
  },
  domains: {
    list: {
      access: 'read',
      doc: 'All domains, by name.',
      options: s.object('ListDomains', 'Which domains', {
        states: s.array('only in these states', s.choice('state', domainStates), { optional: true }),
        names: strings('only with these names'),
        driver: s.string('only of this driver', { optional: true }),
      }),
      result: s.array('domains', Domain),
    },
    get: { access: 'read', doc: 'A domain as it is now.', key: 'domain', result: Domain },
    describe: {
      access: 'read',
      doc: 'The definition of a domain.',
      key: 'domain',
      options: s.object('DescribeDomain', 'Which definition', {
        inactive: s.boolean('what the next start will use, not what runs', { optional: true }),
      }),
      result: DomainDefinition,
    },
    define: {
      access: 'admin',
      doc: 'Makes a domain known, or replaces its definition.',
      body: DomainDefinition,
      options: s.object('DefineDomain', 'Conditions', {
        ifMatch: s.string('entity tag the definition there is must have', { optional: true }),
        ifNoneMatch: s.choice("'*': only when there is none", ['*'], { optional: true }),
      }),
      result: Domain,
    },
    undefine: {
      access: 'admin',
      doc: 'Forgets a domain.',
      key: 'domain',
      options: s.object('UndefineDomain', 'What else goes', {
        savedState: s.boolean('also remove a saved state', { optional: true }),
        snapshots: s.boolean('also forget its snapshots and what they keep', { optional: true }),
      }),
    },
    start: {
      access: 'write',
      doc: 'Starts a domain.',
      key: 'domain',
      options: s.object('StartDomain', 'How', {
        paused,
        discardSaved: s.boolean('boot anew though a saved state waits, and drop it', { optional: true }),
      }),
    },
    shutdown: {
      access: 'write',
      doc: 'Asks the guest to power off.',
      key: 'domain',
      options: s.object('ShutdownDomain', 'How', { mode }),
    },
    destroy: {
      access: 'write',
      doc: 'Takes the power away.',
      key: 'domain',
      interrupts: true,
      options: s.object('DestroyDomain', 'How', {
        graceful: s.boolean('let the hypervisor flush first', { optional: true }),
      }),
    },
    reboot: {
      access: 'write',
      doc: 'Asks the guest to reboot.',
      key: 'domain',
      options: s.object('RebootDomain', 'How', { mode }),
    },
    reset: { access: 'write', doc: 'Presses the reset button.', key: 'domain' },
    suspend: { access: 'write', doc: 'Stops the processors.', key: 'domain' },
    resume: { access: 'write', doc: 'Lets the processors go on.', key: 'domain' },
    setAutostart: {
      access: 'admin',
      doc: 'Sets whether a domain starts with the daemon.',
      key: 'domain',
      options: s.object('SetAutostart', 'What', { enabled: s.boolean('whether it starts with the daemon') }),
    },
    save: {
      access: 'admin',
      doc: 'Writes memory and devices to disk and powers off.',
      key: 'domain',
      options: s.object('SaveDomain', 'Where', { file: stateFile }),
      long: true,
    },
    restore: {
      access: 'admin',
      doc: 'Goes on from a saved state.',
      key: 'domain',
      options: s.object('RestoreDomain', 'Where from', { file: stateFile, paused }),
      long: true,
    },
    stats: {
      access: 'read',
      doc: 'What domains use: the named ones, or all that run.',
      options: s.object('StatsOptions', 'Of which', { domains: strings('uuids or names') }),
      result: s.array('one per domain', DomainStats),
    },
    openConsole: {
      access: 'write',
      doc: 'The serial console, in both directions.',
      key: 'domain',
      options: s.object('OpenConsole', 'Which', {
        device,
        scrollback: s.boolean('start with what was printed before', { optional: true }),
        force: s.boolean('disconnect a viewer that holds it alone', { optional: true }),
      }),
      result: 'stream',
    },
    consoleLog: {
      access: 'read',
      doc: 'What the serial console printed.',
      key: 'domain',
      options: s.object('ConsoleLog', 'How much', {
        device,
        maxBytes: s.integer('at most the last so many bytes', { optional: true, min: 0 }),
      }),
      result: 'bytes',
    },
    screenshot: {
      access: 'read',
      doc: 'The screen as a picture.',
      key: 'domain',
      options: s.object('Screenshot', 'Which', {
        screen: s.integer('number of the screen', { optional: true, min: 0 }),
      }),
      result: 'picture',
    },
    screenText: { access: 'read', doc: 'The screen of a text mode as text.', key: 'domain', result: 'text' },
    attachDevice: {
      access: 'admin',
      doc: 'Plugs a device in.',
      key: 'domain',
      options: s.object('AttachDevice', 'What', { device: oneDevice, live, config }),
    },
    detachDevice: {
      access: 'admin',
      doc: 'Unplugs a device.',
      key: 'domain',
      options: s.object('DetachDevice', 'What', { device: oneDevice, live, config }),
    },
    updateDevice: {
      access: 'admin',
      doc: 'Changes a device: its medium, link, limits, password.',
      key: 'domain',
      options: s.object('UpdateDevice', 'What', {
        device: oneDevice,
        force: s.boolean('also against the will of the guest', { optional: true }),
        live,
        config,
      }),
    },
    setVcpus: {
      access: 'write',
      doc: 'Sets the number of virtual processors.',
      key: 'domain',
      options: s.object('SetVcpus', 'How many', {
        count: s.integer('how many', { min: 1, max: 4096 }),
        maximum: s.boolean('the most there can be, not those there are', { optional: true }),
        live,
        config,
      }),
    },
    setMemory: {
      access: 'write',
      doc: 'Sets the memory the guest has.',
      key: 'domain',
      options: s.object('SetMemory', 'How much', {
        memoryKiB: s.integer('how much', { min: 1, max: 2 ** 43 }),
        maximum: s.boolean('the most there can be, not what there is', { optional: true }),
        live,
        config,
      }),
    },
    setMemoryStatsPeriod: {
      access: 'write',
      doc: 'Sets how often the guest is asked what it uses of its memory.',
      key: 'domain',
      options: s.object('SetMemoryStatsPeriod', 'How often', {
        seconds: s.integer('time between; 0 for never', { min: 0, max: 2 ** 31 - 1 }),
        live,
        config,
      }),
    },
    setLimits: {
      access: 'admin',
      doc: 'Sets limits on what the machine takes of its host.',
      key: 'domain',
      options: s.object('SetLimits', 'Which', {
        cpuShares: limit('weight against others', 1, 262_144),
        cpuQuotaUs: limit('processor time in each period, microseconds; -1 for all', -1, mostUs),
        cpuPeriodUs: limit('period of the quota, microseconds', 1000, 1_000_000),
        hardLimitKiB: limit('the most memory; -1 for all', -1, 2 ** 43),
        softLimitKiB: limit('memory when the host is short; -1 for all', -1, 2 ** 43),
        swapHardLimitKiB: limit('the most memory and swap together; -1 for all', -1, 2 ** 43),
        ioWeight: limit("share of the host's disks against others", 10, 1000),
        vcpuPeriodUs: limit('period of the quota of each virtual processor, microseconds', 1000, 1_000_000),
        vcpuQuotaUs: limit('processor time of each virtual processor in its period; -1 for all', -1, mostUs),
        emulatorPeriodUs: limit('period of the quota of the emulator, microseconds', 1000, 1_000_000),
        emulatorQuotaUs: limit('processor time of the emulator in its period; -1 for all', -1, mostUs),
        iothreadPeriodUs: limit('period of the quota of each I/O thread, microseconds', 1000, 1_000_000),
        iothreadQuotaUs: limit('processor time of each I/O thread in its period; -1 for all', -1, mostUs),
        ioDevices: s.array('use of single block devices of the host; 0 is no limit', BlockDeviceLimits, {
          optional: true,
          maxItems: 64,
          key: ['path'],
        }),
        live,
        config,
      }),
    },
    setIoThread: {
      access: 'admin',
      doc: 'Adds, changes or removes a thread that serves disks.',
      key: 'domain',
      options: s.object('SetIoThread', 'Which, and how', {
        id: s.integer('number, from 1', { min: 1, max: 4095 }),
        remove: s.boolean('remove it', { optional: true }),
        pollMaximumNs: limit('longest time it polls; 0 for never', 0, 2 ** 40),
        pollGrow: limit('factor by which polling grows', 0, 1024),
        pollShrink: limit('divisor by which polling shrinks', 0, 1024),
        minimumWorkers: limit('fewest worker threads', 0, 4096),
        maximumWorkers: limit('most worker threads', 1, 4096),
        live,
        config,
      }),
    },
    setPin: {
      access: 'admin',
      doc: 'Says on which processors of the host a thread runs.',
      key: 'domain',
      options: s.object('SetPin', 'What, and where', {
        vcpu: limit('virtual processor', 0, 4095),
        iothread: limit('I/O thread', 1, 4095),
        emulator: s.boolean('the threads that are neither', { optional: true }),
        cpuset: s.string('processors of the host; all without', { ...aCpuSet, optional: true }),
        live,
        config,
      }),
    },
    sendKey: {
      access: 'write',
      doc: 'Presses keys together, and lets them go.',
      key: 'domain',
      options: s.object('SendKey', 'Which', {
        keys: s.array('names (KEY_LEFTCTRL) or numbers', s.string('key', { maxLength: 64 }), {
          maxItems: 16,
        }),
        codeset: s.choice('what numbers mean', keyCodesets, { optional: true }),
        holdMs: s.integer('how long they are held, milliseconds', { optional: true, min: 1, max: 60_000 }),
      }),
    },
    injectNmi: { access: 'write', doc: 'Sends the guest a non-maskable interrupt.', key: 'domain' },
    coreDump: {
      access: 'admin',
      doc: "Writes the guest's memory to a file for a debugger.",
      key: 'domain',
      options: s.object('CoreDump', 'How', {
        file: s.string('file on the host, an absolute path', {
          pattern: /^\//u,
          patternName: 'an absolute path',
        }),
        format: s.choice('format', ['elf', 'kdump-zlib', 'kdump-lzo', 'kdump-snappy'], { optional: true }),
        afterwards: s.choice('what becomes of the guest', ['resume', 'destroy', 'reset'], { optional: true }),
      }),
      long: true,
    },
    discardSaved: { access: 'admin', doc: 'Removes the saved state that visor keeps.', key: 'domain' },
    timeline: {
      access: 'read',
      doc: 'Where the time of the last start went.',
      key: 'domain',
      result: Timeline,
    },
    setProtection: {
      access: 'admin',
      doc: 'Protects a domain from being removed or started.',
      key: 'domain',
      options: s.object('SetProtection', 'From what', {
        undefine: s.boolean('from being removed', { optional: true }),
        start: s.boolean('from being started', { optional: true }),
      }),
    },
    migrate: {
      access: 'admin',
      doc: 'Moves a domain to another host.',
      key: 'domain',
      options: MigrateDomain,
      result: MigrationSummary,
      long: true,
    },
    adjustMigration: {
      access: 'admin',
      doc: 'Changes a migration under way.',
      key: 'domain',
      options: AdjustMigration,
      lane: 'control',
    },
    clone: {
      access: 'admin',
      doc: 'Makes a copy of a domain that is off.',
      key: 'domain',
      options: s.object('CloneDomain', 'How', {
        name: s.string('name of the copy'),
        linked: s.boolean("with overlays on the domain's disks, which must then stay as they are", {
          optional: true,
        }),
      }),
      result: Domain,
      long: true,
    },
    settleMigration: {
      access: 'admin',
      doc: 'Decides where a domain runs whose migration was cut off.',
      key: 'domain',
      options: SettleMigration,
      result: Domain,
    },
  },
  snapshots: snapshotOperations,
  checkpoints: checkpointOperations,
  blocks: blockOperations,
  agent: agentOperations,
  templates: templateOperations,
  migrations: migrationOperations,
  networks: networkOperations,
  nwfilters: nwfilterOperations,
  hostBridges: hostBridgeOperations,
  groups: groupOperations,
  publications: publicationOperations,
  reach: reachOperations,
  images: imageOperations,
  pools: poolOperations,
  volumes: volumeOperations,
  uploads: uploadOperations,
  secrets: secretOperations,
  schedules: scheduleOperations,
  jobs: {
    list: { access: 'read', doc: 'Operations under way and recently ended.', result: s.array('jobs', Job) },
    get: { access: 'read', doc: 'An operation under way or ended.', key: 'job', result: Job },
    wait: {
      access: 'read',
      doc: 'Waits for a job to end.',
      key: 'job',
      options: s.object('WaitJob', 'How long', {
        timeoutMs: s.integer('at most, milliseconds', { optional: true, min: 0, max: 3_600_000 }),
      }),
      result: Job,
    },
    cancel: { access: 'write', doc: 'Gives a job up.', key: 'job' },
  },
}

export type PartName = keyof typeof operations
/** `domains.start` and its like. */
export type OperationName = {
  [P in PartName]: `${P}.${string & keyof (typeof operations)[P]}`
}[PartName]

/** Every operation with its name, in the order of the table. */
export const operationList: readonly {
  name: OperationName
  part: PartName
  method: string
  operation: Operation
}[] = Object.entries(operations).flatMap(([part, methods]) =>
  Object.entries(methods as Record<string, Operation>).map(([method, operation]) => ({
    name: `${part}.${method}` as OperationName,
    part: part as PartName,
    method,
    operation,
  })),
)

/** The row of a name; undefined for a name that is none. */
export function findOperation(name: string): Operation | undefined {
  const [part, method] = name.split('.')
  const methods = (operations as Record<string, Record<string, Operation>>)[part ?? '']
  return methods && Object.hasOwn(methods, method ?? '') ? methods[method ?? ''] : undefined
}
