/**
 * What must hold between the parts of definitions of storage.
 *
 * Source: libvirt's "Storage pool and volume XML format", and what each type of pool needs.
 */
import { type Fault, faultError } from '../issue.ts'
import { positionsOf } from '../position.ts'
import type { Schema } from '../schema.ts'
import { PoolDefinition, type PoolType } from './pool-definition.ts'
import { VolumeDefinition } from './volume-definition.ts'

type Need = 'path' | 'host' | 'hosts' | 'device' | 'devices' | 'directory' | 'name' | 'adapter' | 'initiator'

/** What cannot be left out, and what has a meaning besides. */
const needs: Readonly<Record<PoolType, { readonly must: readonly Need[]; readonly may?: readonly Need[] }>> =
  {
    dir: { must: ['path'] },
    fs: { must: ['device', 'path'] },
    netfs: { must: ['hosts', 'directory', 'path'], may: ['host'] },
    logical: { must: [], may: ['name', 'devices', 'path'] },
    disk: { must: ['device'], may: ['path'] },
    iscsi: { must: ['host', 'device', 'path'], may: ['initiator'] },
    'iscsi-direct': { must: ['host', 'device', 'initiator'] },
    scsi: { must: ['adapter', 'path'] },
    mpath: { must: ['path'] },
    rbd: { must: ['name'], may: ['hosts'] },
    gluster: { must: ['hosts', 'name'], may: ['directory'] },
    zfs: { must: [], may: ['name', 'devices', 'path'] },
    vstorage: { must: ['name', 'path'] },
    btrfs: { must: ['path'], may: ['device'] },
    nbd: { must: ['hosts'], may: ['name'] },
  }

const places: Readonly<Record<Need, string>> = {
  path: 'path',
  host: 'source.hosts',
  hosts: 'source.hosts',
  device: 'source.devices',
  devices: 'source.devices',
  directory: 'source.directory',
  name: 'source.name',
  adapter: 'source.adapter',
  initiator: 'source.initiator',
}
/** One of these, not several. */
const single: readonly Need[] = ['host', 'device']

/** Fails with `invalid-definition` that tells everything that does not fit together. */
export function checkPoolDefinition(definition: PoolDefinition): void {
  refuse(PoolDefinition, definition, [...checkNeeds(definition), ...checkOptions(definition)])
}

function checkNeeds(definition: PoolDefinition): Fault[] {
  const { type } = definition
  const { must, may = [] } = needs[type]
  const known = [...must, ...may]
  const faults: Fault[] = []
  for (const need of must)
    if (!isGiven(definition, need))
      faults.push({ path: places[need], message: `must be given for a pool of type '${type}'` })
  for (const need of Object.keys(places) as Need[]) {
    const isKnown = known.some((one) => places[one] === places[need])
    // A list is named by two needs: one complaint is enough.
    if (isKnown || single.includes(need) || !isGiven(definition, need)) continue
    // libvirt gives every pool a path; of those that have no folder it means nothing.
    if (need === 'path') continue
    faults.push({ path: places[need], message: `means nothing for a pool of type '${type}'` })
  }
  for (const need of single)
    if (known.includes(need) && !known.includes('hosts') && listOf(definition, need).length > 1)
      faults.push({ path: places[need], message: `must be one for a pool of type '${type}'` })
  return faults
}

function checkOptions({
  type,
  mountOptions,
  rbdOptions,
  copyOnWrite,
  path,
  source,
}: PoolDefinition): Fault[] {
  const faults: Fault[] = []
  const only = (given: boolean, types: readonly PoolType[], field: string) => {
    if (given && !types.includes(type))
      faults.push({
        path: field,
        message: `needs a pool of type ${types.map((one) => `'${one}'`).join(' or ')}`,
      })
  }
  only(mountOptions.length > 0, ['fs', 'netfs'], 'mountOptions')
  only(rbdOptions.length > 0, ['rbd'], 'rbdOptions')
  only(copyOnWrite !== undefined, ['dir', 'fs'], 'copyOnWrite')
  if (path !== undefined && (path === '/' || /(?:^|\/)\.\.?(?:\/|$)/u.test(path)))
    faults.push({ path: 'path', message: "must be a folder of its own, named without '.' and '..'" })
  const { secret } = source.auth ?? {}
  if (secret && (secret.uuid === undefined) === (secret.usage === undefined))
    faults.push({ path: 'source.auth.secret', message: 'must be named by its uuid or by its usage' })
  return faults
}

const listOf = ({ source }: PoolDefinition, need: Need): readonly unknown[] =>
  need === 'host' || need === 'hosts'
    ? source.hosts
    : need === 'device' || need === 'devices'
      ? source.devices
      : []

function isGiven(definition: PoolDefinition, need: Need): boolean {
  const { source, path } = definition
  switch (need) {
    case 'path':
      return path !== undefined
    case 'directory':
      return source.directory !== undefined
    case 'name':
      return source.name !== undefined
    case 'adapter':
      return source.adapter !== undefined
    case 'initiator':
      return source.initiator !== undefined
    default:
      return listOf(definition, need).length > 0
  }
}

/** Fails with `invalid-definition` that tells everything that does not fit together. */
export function checkVolumeDefinition(definition: VolumeDefinition): void {
  const { format, compat, clusterBytes, lazyRefcounts, extendedL2, encryption } = definition
  const faults: Fault[] = []
  const qcow2 = { compat, clusterBytes, lazyRefcounts, extendedL2 }
  if (format !== undefined && format !== 'qcow2')
    for (const [path, value] of Object.entries(qcow2))
      if (value !== undefined && value !== false) faults.push({ path, message: "needs the format 'qcow2'" })
  if (clusterBytes !== undefined && !Number.isInteger(Math.log2(clusterBytes)))
    faults.push({ path: 'clusterBytes', message: 'must be a power of two' })
  if (compat === '0.10' && (lazyRefcounts || extendedL2))
    faults.push({ path: 'compat', message: "must be '1.1' for its features" })
  if (encryption && encryption.secrets.length === 0)
    faults.push({ path: 'encryption.secrets', message: 'must name the secret that unlocks it' })
  refuse(VolumeDefinition, definition, faults)
}

function refuse(schema: Schema, definition: object, faults: readonly Fault[]): void {
  if (faults.length > 0)
    throw faultError(faults, { code: 'invalid-definition', schema, positions: positionsOf(definition) })
}
