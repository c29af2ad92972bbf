/**
 * The contract: what an open driver can do. Front doors, the command line, the library and the web page are
 * all written against it; `drivers/*` and `rest/client` implement it.
 *
 * A missing part or method means: not supported here. `domain` parameters take a uuid; {@link guard} also
 * accepts a name there. Verbs are virsh's. All failures are `VisorError`.
 */
import type {
  BlockDeviceLimits,
  Capabilities,
  DevicesInput,
  Domain,
  DomainDefinition,
  DomainDefinitionInput,
  DomainState,
  DomainStats,
  Event,
  HostInfo,
  Job,
  keyCodesets,
  MigrationSummary,
  Progress,
  Timeline,
} from '../model/index.ts'
import type { Agent } from './parts/agent.ts'
import type { Blocks } from './parts/blocks.ts'
import type { Groups } from './parts/groups.ts'
import type { HostBridges } from './parts/host-bridges.ts'
import type { Images } from './parts/images.ts'
import type {
  AdjustMigrationOptions,
  MigrateOptions,
  Migrations,
  SettleMigrationOptions,
} from './parts/migrations.ts'
import type { Networks } from './parts/networks.ts'
import type { Nwfilters } from './parts/nwfilters.ts'
import type { Pools, Volumes } from './parts/pools.ts'
import type { Publications } from './parts/publications.ts'
import type { Reach } from './parts/reach.ts'
import type { Schedules } from './parts/schedules.ts'
import type { Secrets } from './parts/secrets.ts'
import type { Checkpoints, Snapshots } from './parts/snapshots.ts'
import type { Templates } from './parts/templates.ts'
import type { Uploads } from './parts/uploads.ts'

/** What every state-changing call takes beside its own options. */
export interface CallOptions {
  /** Gives up; the call then fails with `cancelled` and leaves nothing half done. */
  readonly signal?: AbortSignal
  /** Told how far a long operation is. */
  readonly progress?: (progress: Progress) => void
  /** Told the job of the call as soon as there is one, before it runs. */
  readonly onJob?: (job: Job) => void
}

/** An open driver. */
export interface Connection {
  readonly uri: string
  readonly host: Host
  readonly domains: Domains
  readonly snapshots?: Snapshots
  readonly checkpoints?: Checkpoints
  readonly blocks?: Blocks
  readonly agent?: Agent
  readonly templates?: Templates
  /** Domains on their way to this host. */
  readonly migrations?: Migrations
  /** Virtual networks of the host. */
  readonly networks?: Networks
  /** Filters of what guests send and get. */
  readonly nwfilters?: Nwfilters
  /** Bridges that were made from network cards of the host. */
  readonly hostBridges?: HostBridges
  /** Security groups of guests. */
  readonly groups?: Groups
  /** Ports of the host that lead to guests. */
  readonly publications?: Publications
  /** How guests are reached. */
  readonly reach?: Reach
  readonly images?: Images
  /** Pools of storage of the host. */
  readonly pools?: Pools
  readonly volumes?: Volumes
  /** Bytes on their way to become volumes. */
  readonly uploads?: Uploads
  /** Passphrases of disks and passwords of servers, kept for them. */
  readonly secrets?: Secrets
  /** What is done to domains again and again. */
  readonly schedules?: Schedules
  /** Operations under way and recently ended; {@link guard} provides it. */
  readonly jobs?: Jobs
  /**
   * What happens from now on, or from just after the event with the id `after`. An event of kind `daemon`,
   * type `resync` comes first when events were missed: read everything again. Ends when `signal` aborts or
   * the connection closes.
   */
  events(options?: EventOptions): AsyncIterable<Event>
  /** Lets go of the hypervisor; guests go on. */
  close(): Promise<void>
}

export interface EventOptions {
  readonly signal?: AbortSignal
  readonly after?: string
}

export interface Host {
  info(): Promise<HostInfo>
  /** One entry per driver. */
  capabilities(): Promise<Capabilities[]>
}

export interface ListDomains {
  /** Only those in one of these states. */
  readonly states?: readonly DomainState[]
  /** Only those with one of these names. */
  readonly names?: readonly string[]
  /** Only those of this driver. */
  readonly driver?: string
}
export interface DefineOptions extends CallOptions {
  /** Only when the definition there is has this entity tag ({@link entityTag}); else `conflict`. `*`: only when there is one. */
  readonly ifMatch?: string
  /** `*`: only when there is none of that uuid or name; else `already-exists`. */
  readonly ifNoneMatch?: string
}
export interface UndefineOptions extends CallOptions {
  /** Also remove a saved state; without it, a domain that has one is refused with `invalid-state`. */
  readonly savedState?: boolean
  /** Also forget its snapshots and what they keep; without it, a domain that has some is refused with `invalid-state`. */
  readonly snapshots?: boolean
}
export interface CloneDomainOptions extends CallOptions {
  /** Name of the copy. */
  readonly name: string
  /** With disks that are overlays on those of the domain, which must then stay as they are. */
  readonly linked?: boolean
}
export interface StartOptions extends CallOptions {
  /** Leave the processors stopped. */
  readonly paused?: boolean
  /** Boot anew though a saved state waits, and drop that state. */
  readonly discardSaved?: boolean
}
export interface ShutdownOptions extends CallOptions {
  /** How the guest is asked: by power button, by its agent, or as the driver thinks best. */
  readonly mode?: 'auto' | 'acpi' | 'agent'
}
export interface DestroyOptions extends CallOptions {
  /** Give the hypervisor a moment to flush before it is killed. */
  readonly graceful?: boolean
}
export interface SaveOptions extends CallOptions {
  /** Where to, an absolute path on the host; without it visor keeps it, and the next start restores it. */
  readonly file?: string
}
export interface RestoreOptions extends CallOptions {
  /** Where from; without it, what visor keeps. */
  readonly file?: string
  readonly paused?: boolean
}
export interface ConsoleOptions {
  /** Alias of the serial port or console; the first one without it. */
  readonly device?: string
  /** Start with what was printed before, as far as it is kept. */
  readonly scrollback?: boolean
  /** Disconnect another viewer that holds it alone. */
  readonly force?: boolean
}
export interface ConsoleLogOptions {
  readonly device?: string
  /** At most the last so many bytes. */
  readonly maxBytes?: number
}

export interface Domains {
  /** All domains, by name. */
  list(options?: ListDomains): Promise<Domain[]>
  get(domain: string): Promise<Domain>
  /** The definition: of the running machine, or with `inactive` what the next start will use. */
  describe(domain: string, options?: { readonly inactive?: boolean }): Promise<DomainDefinition>
  /** Makes a domain known, or replaces the definition of the one with the same uuid or name. Durable when it resolves. */
  define?(definition: DomainDefinitionInput, options?: DefineOptions): Promise<Domain>
  /** Forgets a domain; `invalid-state` while it runs. */
  undefine?(domain: string, options?: UndefineOptions): Promise<void>
  /** Resolves when the processors run (or, with `paused`, could). */
  start?(domain: string, options?: StartOptions): Promise<void>
  /** Asks the guest to power off; resolves when it was asked, not when it is off. */
  shutdown?(domain: string, options?: ShutdownOptions): Promise<void>
  /** Takes the power away; resolves when the machine is gone. */
  destroy?(domain: string, options?: DestroyOptions): Promise<void>
  /** Asks the guest to reboot. */
  reboot?(domain: string, options?: ShutdownOptions): Promise<void>
  /** Presses the reset button. */
  reset?(domain: string, options?: CallOptions): Promise<void>
  suspend?(domain: string, options?: CallOptions): Promise<void>
  resume?(domain: string, options?: CallOptions): Promise<void>
  /** Whether it starts with the daemon. */
  setAutostart?(domain: string, options: { readonly enabled: boolean } & CallOptions): Promise<void>
  /** Writes memory and devices to disk and powers off. */
  save?(domain: string, options?: SaveOptions): Promise<void>
  /** Goes on from a saved state, which is used up when visor kept it. */
  restore?(domain: string, options?: RestoreOptions): Promise<void>
  /** Of the domains named, or of all that run. */
  stats?(options?: { readonly domains?: readonly string[] }): Promise<DomainStats[]>
  /** The serial console. Several may be open at once, all see the output. */
  openConsole?(domain: string, options?: ConsoleOptions): Promise<ByteStream>
  /** What the serial console printed, as far as it is kept. */
  consoleLog?(domain: string, options?: ConsoleLogOptions): Promise<Uint8Array>
  /** The screen as a picture. */
  screenshot?(domain: string, options?: { readonly screen?: number }): Promise<Picture>
  /** The screen of a text mode as text, lines ended by newlines. */
  screenText?(domain: string): Promise<string>
  /** Plugs one device in. */
  attachDevice?(domain: string, options: DeviceOptions): Promise<void>
  /** Unplugs the device that matches: by alias, address, target, hardware address. Resolves when the guest has let it go. */
  detachDevice?(domain: string, options: DeviceOptions): Promise<void>
  /** Changes what can be changed of a device that is there. */
  updateDevice?(domain: string, options: DeviceOptions & { readonly force?: boolean }): Promise<void>
  setVcpus?(domain: string, options: SetVcpusOptions): Promise<void>
  setMemory?(domain: string, options: SetMemoryOptions): Promise<void>
  /** Sets how often the guest is asked what it uses of its memory; never with 0. `invalid-state` without a balloon. */
  setMemoryStatsPeriod?(domain: string, options: SetMemoryStatsPeriodOptions): Promise<void>
  /** Holds it to other limits on what it takes of its host; what is not named stays as it is. */
  setLimits?(domain: string, options: SetLimitsOptions): Promise<void>
  /** Adds an I/O thread, changes one that is there, or removes one; `invalid-state` while a disk is served by it. */
  setIoThread?(domain: string, options: SetIoThreadOptions): Promise<void>
  /** Lets one virtual processor, one I/O thread or the emulator run on these processors of the host only. */
  setPin?(domain: string, options: SetPinOptions): Promise<void>
  /** Presses keys together, and lets them go. */
  sendKey?(domain: string, options: SendKeyOptions): Promise<void>
  injectNmi?(domain: string, options?: CallOptions): Promise<void>
  /** Writes the guest's memory to a file for a debugger; the guest stands still meanwhile. */
  coreDump?(domain: string, options: CoreDumpOptions): Promise<void>
  /** Removes the saved state that visor keeps; `invalid-state` when there is none. */
  discardSaved?(domain: string, options?: CallOptions): Promise<void>
  /** Where the time of the last start went; `invalid-state` for a domain that does not run. */
  timeline?(domain: string): Promise<Timeline>
  /** Sets what must not be done to it (`invalid-state` then) until the protection is taken away; what is not named stays as it is. */
  setProtection?(
    domain: string,
    options: { readonly undefine?: boolean; readonly start?: boolean } & CallOptions,
  ): Promise<void>
  /** Moves it to another host; it runs there when this resolves, and here still when this fails. */
  migrate?(domain: string, options: MigrateOptions): Promise<MigrationSummary>
  /** Changes a migration under way. */
  adjustMigration?(domain: string, options: AdjustMigrationOptions): Promise<void>
  /** Makes a copy of a domain that is off, with an identity and disks of its own. */
  clone?(domain: string, options: CloneDomainOptions): Promise<Domain>
  /** Decides where a domain runs whose migration was cut off when it was handed over. */
  settleMigration?(domain: string, options?: SettleMigrationOptions): Promise<Domain>
}

/** Whether a change is of the running machine, of the definition for the next start, or both; of what runs, else of the definition, without either. */
export interface AffectOptions extends CallOptions {
  readonly live?: boolean
  readonly config?: boolean
}
export interface DeviceOptions extends AffectOptions {
  /** A `devices` description with one device. */
  readonly device: DevicesInput
}
export interface SetVcpusOptions extends AffectOptions {
  readonly count: number
  /** The most there can be, not those there are; only of the definition. */
  readonly maximum?: boolean
}
export interface SetMemoryOptions extends AffectOptions {
  readonly memoryKiB: number
  /** The most there can be, not what there is; only of the definition. */
  readonly maximum?: boolean
}
export interface SetMemoryStatsPeriodOptions extends AffectOptions {
  readonly seconds: number
}
export interface SetLimitsOptions extends AffectOptions {
  /** Weight against others. */
  readonly cpuShares?: number
  /** Processor time of the whole machine in each period, microseconds; -1 for all. */
  readonly cpuQuotaUs?: number
  readonly cpuPeriodUs?: number
  /** Of memory; -1 takes the limit away. */
  readonly hardLimitKiB?: number
  readonly softLimitKiB?: number
  /** Of memory and swap together. */
  readonly swapHardLimitKiB?: number
  /** Share of the host's disks against others. */
  readonly ioWeight?: number
  /** Of each virtual processor, of what is neither processor nor I/O thread, and of each I/O thread; -1 for all. */
  readonly vcpuPeriodUs?: number
  readonly vcpuQuotaUs?: number
  readonly emulatorPeriodUs?: number
  readonly emulatorQuotaUs?: number
  readonly iothreadPeriodUs?: number
  readonly iothreadQuotaUs?: number
  /** Of single block devices of the host, by path; 0 takes a limit away, what is not named stays. */
  readonly ioDevices?: readonly BlockDeviceLimits[]
}
export interface SetIoThreadOptions extends AffectOptions {
  /** Its number, from 1. */
  readonly id: number
  readonly remove?: boolean
  /** Longest time it polls before it sleeps; 0 for never. */
  readonly pollMaximumNs?: number
  readonly pollGrow?: number
  readonly pollShrink?: number
  /** Worker threads beside it. */
  readonly minimumWorkers?: number
  readonly maximumWorkers?: number
}
export interface SetPinOptions extends AffectOptions {
  readonly vcpu?: number
  readonly iothread?: number
  readonly emulator?: boolean
  /** As `0-3,^2`; all that the machine may run on without it. */
  readonly cpuset?: string
}
export interface SendKeyOptions extends CallOptions {
  /** Names such as `KEY_LEFTCTRL`, or numbers in the codeset. */
  readonly keys: readonly string[]
  readonly codeset?: (typeof keyCodesets)[number]
  readonly holdMs?: number
}
export interface CoreDumpOptions extends CallOptions {
  /** Where to, an absolute path on the host. */
  readonly file: string
  readonly format?: 'elf' | 'kdump-zlib' | 'kdump-lzo' | 'kdump-snappy'
  readonly afterwards?: 'resume' | 'destroy' | 'reset'
}

export interface Picture {
  /** `image/png` or `image/x-portable-pixmap`. */
  readonly mediaType: string
  readonly bytes: Uint8Array
}

/** Bytes in both directions. Iterating ends when the other side closes. One iteration at a time. */
export interface ByteStream extends AsyncIterable<Uint8Array> {
  /** Resolves when the bytes are handed on. */
  write(bytes: Uint8Array): Promise<void>
  close(): Promise<void>
}

export interface Jobs {
  list(): Promise<Job[]>
  get(job: string): Promise<Job>
  /** The job when it has ended, or as it is after `timeoutMs`. */
  wait(job: string, options?: { readonly timeoutMs?: number; readonly signal?: AbortSignal }): Promise<Job>
  cancel(job: string): Promise<void>
}
