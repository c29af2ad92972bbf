/** Migration: this host sends domains to other hosts and receives theirs. */
import type { Domains, Migrations } from '../../../driver/index.ts'
import { openArrivals } from './arrive.ts'
import { type DeparturesOptions, openDepartures } from './leave.ts'

export interface OpenMigrations {
  readonly domains: Required<Pick<Domains, 'migrate' | 'adjustMigration' | 'settleMigration'>>
  readonly migrations: Required<Migrations>
  close(): void
}

/** Opens both sides: what a daemon before left half done is finished, or taken back. */
export async function openMigrations(options: DeparturesOptions): Promise<OpenMigrations> {
  const arrivals = await openArrivals(options.context, options.registry)
  const departures = openDepartures(options)
  return {
    domains: departures.domains,
    migrations: arrivals.migrations,
    close() {
      arrivals.close()
      departures.close()
    },
  }
}
