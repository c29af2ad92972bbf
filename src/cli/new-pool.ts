/** A definition of a pool from flags. */
import { resolve } from 'node:path'
import {
  checkPoolDefinition,
  type PoolDefinition,
  type PoolType,
  parse,
  PoolDefinition as Schema,
} from '../model/index.ts'

export interface NewPoolFlags {
  readonly type: PoolType
  readonly device?: readonly string[]
  readonly host?: readonly string[]
  readonly export?: string
  readonly sourceName?: string
  readonly format?: string
  readonly mountOption?: readonly string[]
  readonly overwrite?: true
}

/** Fails with `invalid-definition` for what cannot be. */
export function buildPool(name: string, path: string | undefined, flags: NewPoolFlags): PoolDefinition {
  const { type, device = [], host = [], sourceName, format, mountOption = [] } = flags
  const definition = parse(Schema, {
    type,
    name,
    source: {
      devices: device.map((one) => ({ path: one })),
      hosts: host.map((one) => ({ name: one })),
      ...(flags.export !== undefined && { directory: flags.export }),
      ...(sourceName !== undefined && { name: sourceName }),
      ...(format !== undefined && { format }),
    },
    ...(path !== undefined && { path: resolve(path) }),
    mountOptions: [...mountOption],
  })
  checkPoolDefinition(definition)
  return definition
}
