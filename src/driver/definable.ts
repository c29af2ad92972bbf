/** What can be defined: how a definition is checked, and what one replaces. */
import {
  checkDefinition,
  checkNetworkDefinition,
  checkNwfilterDefinition,
  checkPoolDefinition,
  DomainDefinition,
  NetworkDefinition,
  NwfilterDefinition,
  PoolDefinition,
  parse,
  VisorError,
} from '../model/index.ts'
import type { CallOptions, Connection } from './connection.ts'
import type { OperationName } from './operations.ts'

export type Definition = DomainDefinition | NetworkDefinition | NwfilterDefinition | PoolDefinition

export interface Definable {
  readonly name: OperationName
  readonly noun: string
  /** Fails with `invalid-definition`. */
  check(given: unknown): Definition
  /** The persistent definition that this one would replace: of the same uuid, else of the same name. */
  find(inner: Connection, definition: Definition): Promise<Definition | undefined>
  define(inner: Connection, definition: Definition, options: CallOptions): Promise<unknown>
}

export const definable: readonly Definable[] = [
  {
    name: 'domains.define',
    noun: 'domain',
    check(given) {
      const definition = parse(DomainDefinition, given)
      checkDefinition(definition)
      return definition
    },
    find: ({ domains }, { uuid, name }) =>
      ifThere(async () => {
        const key = uuid ?? (await domains.list({ names: [name] }))[0]?.uuid
        return key === undefined ? undefined : domains.describe(key, { inactive: true })
      }),
    define: async ({ domains }, definition, options) =>
      domains.define?.(definition as DomainDefinition, options),
  },
  {
    name: 'networks.define',
    noun: 'network',
    check(given) {
      const definition = parse(NetworkDefinition, given)
      checkNetworkDefinition(definition)
      return definition
    },
    find: ({ networks }, { uuid, name }) =>
      ifThere(async () => networks?.describe(uuid ?? name, { inactive: true })),
    define: async ({ networks }, definition, options) =>
      networks?.define?.(definition as NetworkDefinition, options),
  },
  {
    name: 'nwfilters.define',
    noun: 'nwfilter',
    check(given) {
      const definition = parse(NwfilterDefinition, given)
      checkNwfilterDefinition(definition)
      return definition
    },
    find: ({ nwfilters }, { uuid, name }) => ifThere(async () => nwfilters?.describe(uuid ?? name)),
    define: async ({ nwfilters }, definition, options) =>
      nwfilters?.define?.(definition as NwfilterDefinition, options),
  },
  {
    name: 'pools.define',
    noun: 'pool',
    check(given) {
      const definition = parse(PoolDefinition, given)
      checkPoolDefinition(definition)
      return definition
    },
    find: ({ pools }, { uuid, name }) =>
      ifThere(async () => pools?.describe(uuid ?? name, { inactive: true })),
    define: async ({ pools }, definition, options) => pools?.define?.(definition as PoolDefinition, options),
  },
]

async function ifThere<T>(find: () => Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await find()
  } catch (error) {
    if (error instanceof VisorError && error.code === 'not-found') return undefined
    throw error
  }
}
