/** The receiving side of a migration: what the source's visord asks of the destination's. */
import { DomainDefinition, Migration, schema as s } from '../../model/index.ts'
import type { CallOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

export interface PrepareMigrationOptions extends CallOptions {
  /** The live definition, as it shall be here. */
  readonly definition: DomainDefinition
}

export interface Migrations {
  list(): Promise<Migration[]>
  get(migration: string): Promise<Migration>
  /** Makes ready to receive a domain: nothing of it runs before `finish`. */
  prepare?(options: PrepareMigrationOptions): Promise<Migration>
  /** The source has handed over for good: the domain runs here from now on. */
  finish?(migration: string, options?: CallOptions): Promise<void>
  /** Gives it up; nothing is left of it here. */
  cancel?(migration: string, options?: CallOptions): Promise<void>
}

export const migrationOperations = {
  list: {
    access: 'read',
    doc: 'Domains on their way to this host.',
    result: s.array('migrations', Migration),
  },
  get: { access: 'read', doc: 'A domain on its way to this host.', key: 'migration', result: Migration },
  prepare: {
    access: 'admin',
    doc: 'Makes ready to receive a domain from another host.',
    options: s.object('PrepareMigration', 'What comes', { definition: DomainDefinition }),
    result: Migration,
  },
  finish: {
    access: 'admin',
    doc: 'Runs a domain that was received.',
    key: 'migration',
  },
  cancel: { access: 'admin', doc: 'Gives up receiving a domain.', key: 'migration' },
} as const satisfies PartTable<Migrations>
