/** What is done to domains again and again. */

import type { Event } from '../../model/index.ts'
import {
  Schedule,
  ScheduleDefinition,
  type ScheduleDefinitionInput,
  ScheduleRun,
  schema as s,
} from '../../model/index.ts'
import type { CallOptions, Connection, EventOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

export interface RemoveScheduleOptions extends CallOptions {
  /** And the snapshots that it took. */
  readonly snapshots?: boolean
}

/** Schedules, each by its name. */
export interface Schedules {
  /** By name. */
  list(): Promise<Schedule[]>
  get(schedule: string): Promise<Schedule>
  /**
   * Makes a schedule known, or replaces the one of its name. Fails with `invalid-definition` for a time that never
   * comes. What it took before it still looks after.
   */
  define?(definition: ScheduleDefinitionInput & CallOptions): Promise<Schedule>
  setEnabled?(schedule: string, options: { readonly enabled: boolean } & CallOptions): Promise<Schedule>
  /** Does it now, whatever its time; what fails for one domain is in the result. `busy` while it is done. */
  run?(schedule: string, options?: CallOptions): Promise<ScheduleRun>
  /** Forgets it; what it took stays, unless that is to go too. */
  remove?(schedule: string, options?: RemoveScheduleOptions): Promise<void>
}

export const scheduleOperations = {
  list: { access: 'read', doc: 'All schedules, by name.', result: s.array('schedules', Schedule) },
  get: { access: 'read', doc: 'A schedule as it is now.', key: 'schedule', result: Schedule },
  define: {
    access: 'admin',
    doc: 'Makes a schedule known, or replaces it.',
    options: ScheduleDefinition,
    result: Schedule,
  },
  setEnabled: {
    access: 'admin',
    doc: 'Sets whether a schedule is kept.',
    key: 'schedule',
    options: s.object('SetScheduleEnabled', 'What', { enabled: s.boolean('whether it is kept') }),
    result: Schedule,
  },
  run: {
    access: 'admin',
    doc: 'Does now what a schedule says.',
    key: 'schedule',
    result: ScheduleRun,
    long: true,
  },
  remove: {
    access: 'admin',
    doc: 'Forgets a schedule.',
    key: 'schedule',
    options: s.object('RemoveSchedule', 'What else goes', {
      snapshots: s.boolean('the snapshots that it took', { optional: true }),
    }),
    long: true,
  },
} as const satisfies PartTable<Schedules>

/** The schedules of a host. */
export interface HostSchedules {
  readonly schedules: Schedules
  events(options?: EventOptions): AsyncIterable<Event>
  /** Keeps them from now on, by this connection; first does what is late. */
  begin(connection: Pick<Connection, 'domains' | 'snapshots'>): void
  /** Ends; what is under way is given up. Resolves when it is. */
  close(): Promise<void>
}
