/** Filters of what guests on the networks of the host send and get. */
import { Nwfilter, NwfilterDefinition, type NwfilterDefinitionInput, schema as s } from '../../model/index.ts'
import type { CallOptions, DefineOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

/** Filters, each by its name or uuid. */
export interface Nwfilters {
  /** All filters, by name: those that are there without being made, and those of the host's own. */
  list(): Promise<Nwfilter[]>
  get(nwfilter: string): Promise<Nwfilter>
  /** Its definition. */
  describe(nwfilter: string, options?: { readonly inactive?: boolean }): Promise<NwfilterDefinition>
  /**
   * Makes a filter known, or replaces its definition: at once for guests that run. Fails with `unsupported-config`
   * where it cannot be in force for one of them; all is as before then.
   */
  define?(definition: NwfilterDefinitionInput, options?: DefineOptions): Promise<Nwfilter>
  /**
   * Forgets a filter; one that was there without being made is again what it was. `invalid-state` while a guest that
   * runs or another filter needs it.
   */
  undefine?(nwfilter: string, options?: CallOptions): Promise<void>
}

export const nwfilterOperations = {
  list: { access: 'read', doc: 'All filters, by name.', result: s.array('filters', Nwfilter) },
  get: { access: 'read', doc: 'A filter as it is now.', key: 'nwfilter', result: Nwfilter },
  describe: {
    access: 'read',
    doc: 'The definition of a filter.',
    key: 'nwfilter',
    options: s.object('DescribeNwfilter', 'Which definition', {
      inactive: s.boolean('filters have one definition only', { optional: true }),
    }),
    result: NwfilterDefinition,
  },
  define: {
    access: 'admin',
    doc: 'Makes a filter known, or replaces its definition.',
    body: NwfilterDefinition,
    options: s.object('DefineNwfilter', 'Conditions', {
      ifMatch: s.string('entity tag the definition there is must have', { optional: true }),
      ifNoneMatch: s.choice("'*': only when there is none", ['*'], { optional: true }),
    }),
    result: Nwfilter,
  },
  undefine: { access: 'admin', doc: 'Forgets a filter.', key: 'nwfilter' },
} as const satisfies PartTable<Nwfilters>
