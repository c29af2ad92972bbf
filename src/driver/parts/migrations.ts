/** Moving domains between hosts: what a user asks of the source, and what the source's visord asks of the other. */
import {
  DomainDefinition,
  diskCopies,
  Migration,
  type MigrationSummary,
  schema as s,
} from '../../model/index.ts'
import type { CallOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

const compressions = ['xbzrle', 'zlib', 'zstd'] as const
const timeoutActions = ['suspend', 'cancel', 'postcopy'] as const

const flag = (doc: string) => s.boolean(doc, { optional: true })
const path = (doc: string) =>
  s.string(doc, {
    optional: true,
    pattern: /^\/[^\0\n]*$/u,
    patternName: 'an absolute path',
    maxLength: 4095,
  })

/** What `domains.migrate` takes. */
export const MigrateDomain = s.object('MigrateDomain', 'Where to and how', {
  to: s.string("URI of the other host's visord: https://host:8430, unix:///path/of/its/socket", {
    maxLength: 1024,
    minLength: 1,
  }),
  token: s.string("token of the other host's visord; over TCP it wants one", {
    optional: true,
    maxLength: 1024,
  }),
  definition: s.field(DomainDefinition, { optional: true }),
  name: s.string('name it gets there', { optional: true, minLength: 1, maxLength: 1024 }),
  offline: flag('move the definition of a domain that is off'),
  paused: flag('leave it stopped there'),
  undefineSource: flag('forget it here when it runs there'),
  copyStorage: s.choice('how disks get there; none: both hosts see them', diskCopies, { optional: true }),
  copyTo: path('folder there for disks that are copied; the same paths as here without it'),
  disks: s.array(
    'where single disks stand there; of those copied, only these when there are any',
    s.object('MigrateDisk', 'A disk there', {
      target: s.string('its target name', { minLength: 1, maxLength: 64 }),
      file: path('its file there'),
    }),
    { optional: true, maxItems: 256 },
  ),
  transport: s.choice('what memory and disks go over; as the URI without it', ['tcp', 'unix'], {
    optional: true,
  }),
  address: s.string('address the other host listens on; the host of the URI without it', {
    optional: true,
    pattern: /^[\w.:%-]+$/u,
    patternName: 'a host name or an IP address',
    maxLength: 255,
  }),
  tls: flag('encrypt memory and disks, with certificates at both ends'),
  bandwidthMiBps: s.integer('most to send in a second, MiB', { optional: true, min: 1, max: 2 ** 20 }),
  maxDowntimeMs: s.integer('how long it may stand still, milliseconds; 300 without it', {
    optional: true,
    min: 1,
    max: 2_000_000,
  }),
  postcopy: flag('let it run there before all of its memory has come, when one pass has not been enough'),
  postcopyAfter: s.integer('passes before that', { optional: true, min: 0, max: 1000 }),
  compression: s.choice('how memory is compressed', compressions, { optional: true }),
  parallel: s.integer('connections that carry memory at once', { optional: true, min: 2, max: 255 }),
  autoConverge: flag('slow the processors down until memory changes slower than it is sent'),
  timeoutMs: s.integer('how long it may take before timeoutAction', { optional: true, min: 1, max: 2 ** 31 }),
  timeoutAction: s.choice(
    'what is done then: stop it so that it ends, give up, run it there',
    timeoutActions,
    {
      optional: true,
    },
  ),
  unsafe: flag('move it though its disks may be damaged by that'),
})
export type MigrateSettings = s.Output<typeof MigrateDomain>
/** `to` and the rest of {@link MigrateDomain}. */
export type MigrateOptions = MigrateSettings & CallOptions

/** What `domains.adjustMigration` takes. */
export const AdjustMigration = s.object('AdjustMigration', 'What changes', {
  bandwidthMiBps: s.integer('most to send in a second, MiB', { optional: true, min: 1, max: 2 ** 20 }),
  maxDowntimeMs: s.integer('how long it may stand still, milliseconds', {
    optional: true,
    min: 1,
    max: 2_000_000,
  }),
  postcopy: flag('run it there now; only of a migration that was begun with postcopy'),
})
export type AdjustMigrationOptions = s.Output<typeof AdjustMigration> & CallOptions

/** What `domains.settleMigration` takes. */
export const SettleMigration = s.object('SettleMigration', 'How', {
  outcome: s.choice('where it runs: ask the other host, or you know', ['ask', 'here', 'there'], {
    optional: true,
  }),
  token: s.string("another token of the other host's visord", { optional: true, maxLength: 1024 }),
})
export type SettleMigrationOptions = s.Output<typeof SettleMigration> & CallOptions

const PrepareMigration = s.object('PrepareMigration', 'What comes', {
  id: s.string('identity of the migration, a new uuid', {
    pattern: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u,
    patternName: 'a uuid',
  }),
  definition: DomainDefinition,
  inactive: s.field(DomainDefinition, { optional: true }),
  autostart: flag('whether it shall start with the daemon'),
  cpuFeatures: s.array(
    'words of CPUID that its guest sees, LEAF:SUBLEAF:REGISTER=BITS in hexadecimal',
    s.string('a word', {
      pattern: /^[0-9a-f]{1,8}:[0-9a-f]{1,8}:E[ABCD]X=[0-9a-f]{1,8}$/u,
      patternName: 'a word of CPUID',
    }),
    { optional: true, maxItems: 256 },
  ),
  boot: s.string("identity of the source's boot: tells whether both are one machine", { optional: true }),
  transport: s.choice('what memory and disks come over', ['tcp', 'unix']),
  address: s.string('address to listen on', { optional: true, maxLength: 255 }),
  tls: flag('encrypted'),
  postcopy: flag('it may run before all of its memory has come'),
  compression: s.choice('how memory is compressed', compressions, { optional: true }),
  parallel: s.integer('connections that carry memory at once', { optional: true, min: 2, max: 255 }),
  unsafe: flag('though disks may be damaged by that'),
  disks: s.array(
    'its disks, as the source has them',
    s.object('PrepareDisk', 'A disk', {
      target: s.string('target name'),
      copy: s.choice('how it comes', diskCopies),
      sizeBytes: s.integer('what the guest sees, bytes', { min: 0 }),
      allocatedBytes: s.integer('what it takes at the source, bytes', { min: 0 }),
      inode: s.integer('number of its file at the source', { optional: true, min: 0 }),
      device: s.integer('number of the file system of that', { optional: true, min: 0 }),
      base: s.object(
        'PrepareBase',
        'What it is based on',
        { file: s.string('its file'), format: s.string('its format') },
        { optional: true },
      ),
    }),
    { maxItems: 256 },
  ),
})
export type PrepareMigrationOptions = s.Output<typeof PrepareMigration> & CallOptions

const RecoverMigration = s.object('RecoverMigration', 'How', {
  transport: s.choice('what memory comes over', ['tcp', 'unix']),
  address: s.string('address to listen on', { optional: true, maxLength: 255 }),
})
export type RecoverMigrationOptions = s.Output<typeof RecoverMigration> & CallOptions

export interface FinishMigrationOptions extends CallOptions {
  /** Leave it stopped. */
  readonly paused?: boolean
}

export interface Migrations {
  list(): Promise<Migration[]>
  /** Fails with `not-found` for one that will never run here. */
  get(migration: string): Promise<Migration>
  /** Makes ready to receive a domain: nothing of it runs before `finish`. */
  prepare?(options: PrepareMigrationOptions): Promise<Migration>
  /**
   * The source has handed over for good: the domain runs here from now on. Does nothing more when it does
   * already; fails with `not-found` when it never will.
   */
  finish?(migration: string, options?: FinishMigrationOptions): Promise<void>
  /**
   * Listens anew for the rest of the memory of a domain that runs here already, when the connection broke. Fails with
   * `invalid-state` when it did not, `not-found` when the domain does not run here any more.
   */
  recover?(migration: string, options: RecoverMigrationOptions): Promise<Migration>
  /** Gives it up; it never runs here when this resolves. Fails with `invalid-state` when it runs already. */
  cancel?(migration: string, options?: CallOptions): Promise<void>
}

export type { MigrationSummary }

// Said, not inferred: the definition of a domain in it is too much for the compiler to write down.
export const migrationOperations: PartTable<Migrations> = {
  list: {
    access: 'read',
    doc: 'All domains on their way to this host.',
    result: s.array('migrations', Migration),
  },
  get: { access: 'read', doc: 'A domain on its way to this host.', key: 'migration', result: Migration },
  prepare: {
    access: 'admin',
    doc: 'Makes ready to receive a domain from another host.',
    options: PrepareMigration,
    result: Migration,
    parallel: true,
  },
  finish: {
    access: 'admin',
    doc: 'Runs a domain that was received.',
    key: 'migration',
    options: s.object('FinishMigration', 'How', { paused: flag('leave it stopped') }),
  },
  recover: {
    access: 'admin',
    doc: 'Listens anew for the rest of the memory of a domain whose post-copy broke.',
    key: 'migration',
    options: RecoverMigration,
    result: Migration,
  },
  cancel: { access: 'admin', doc: 'Gives up receiving a domain.', key: 'migration' },
}
