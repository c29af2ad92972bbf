/** The literal table of what pools can be made of here. */
import { checkHonoured, PoolDefinition, type PoolType, VisorError } from '../../model/index.ts'
import type { PoolBackend, PoolSurroundings } from './backend.ts'
import { folderPool } from './folder-pool.ts'
import { mountedPool } from './mounted-pool.ts'
import { iscsiPool, nbdPool } from './server-pool.ts'

interface Kind {
  open(definition: PoolDefinition, around: PoolSurroundings): PoolBackend
  /** Settings that mean something, besides those of every pool. */
  readonly honoured: readonly string[]
}

const everywhere = [
  'type',
  'path',
  'permissions.mode',
  'permissions.owner',
  'permissions.group',
  'volumeAllocation=default',
]

const iscsi = [
  ...['source.hosts[].name', 'source.hosts[].port', 'source.devices[].path', 'source.initiator'],
  ...['source.auth.type=chap', 'source.auth.username', 'source.auth.secret.uuid', 'source.auth.secret.usage'],
]

const kinds: { readonly [T in PoolType]?: Kind } = {
  dir: { open: folderPool, honoured: ['copyOnWrite'] },
  fs: {
    open: mountedPool,
    honoured: ['copyOnWrite', 'mountOptions', 'source.devices[].path', 'source.format'],
  },
  netfs: {
    open: mountedPool,
    honoured: ['mountOptions', 'source.hosts[].name', 'source.directory', 'source.format'],
  },
  nbd: { open: nbdPool, honoured: ['source.hosts[].name', 'source.hosts[].port', 'source.name'] },
  iscsi: { open: iscsiPool, honoured: iscsi },
  'iscsi-direct': { open: iscsiPool, honoured: iscsi },
}

/** Fails with `unsupported-config` for a pool, or a setting of one, that is not to be had here. */
export function checkPool(definition: PoolDefinition): void {
  const { honoured } = kindOf(definition)
  checkHonoured(
    PoolDefinition,
    definition,
    [...everywhere, ...honoured],
    `pools of type '${definition.type}'`,
  )
}

export const openBackend = (definition: PoolDefinition, around: PoolSurroundings): PoolBackend =>
  kindOf(definition).open(definition, around)

function kindOf({ type }: PoolDefinition): Kind {
  const kind = kinds[type]
  if (kind) return kind
  throw new VisorError('unsupported-config', `Pools of type '${type}' are not supported yet.`, {
    path: 'type',
    remedy: `Types that are: ${Object.keys(kinds).join(', ')}.`,
  })
}
