/** A definition of a pool from flags. */
import { resolve } from 'node:path'
import {
  checkPoolDefinition,
  type PoolDefinition,
  type PoolType,
  parse,
  PoolDefinition as Schema,
  VisorError,
} from '../model/index.ts'
import { nameSecret } from './encryption.ts'

export interface NewPoolFlags {
  readonly type: PoolType
  readonly device?: readonly string[]
  readonly host?: readonly string[]
  readonly export?: string
  readonly sourceName?: string
  readonly format?: string
  readonly mountOption?: readonly string[]
  readonly initiator?: string
  readonly user?: string
  readonly secret?: string
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
      hosts: host.map(parseHost),
      ...(flags.initiator !== undefined && { initiator: flags.initiator }),
      ...(flags.user !== undefined && {
        auth: { ...login(type), username: flags.user, secret: referTo(flags) },
      }),
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

/** 'server', 'server:10809', '[2001:db8::1]:3260'. */
function parseHost(text: string): { name: string; port?: number } {
  const { name, bare, port } =
    /^(?:\[(?<name>[^\]]+)\]|(?<bare>[^:]+))(?::(?<port>\d{1,5}))?$/u.exec(text)?.groups ?? {}
  return { name: name ?? bare ?? text, ...(port !== undefined && { port: Number(port) }) }
}

const login = (type: PoolType) => ({ type: type === 'rbd' ? ('ceph' as const) : ('chap' as const) })

function referTo({ secret }: NewPoolFlags) {
  if (secret !== undefined) return nameSecret(secret)
  throw new VisorError('invalid-argument', 'A user of the storage needs a secret.', {
    remedy: "Name one with --secret; 'visor secret create' makes it.",
  })
}
