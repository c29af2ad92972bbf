/** What a migration is to be: checked, and told to the destination, before anything changes. */
import { stat } from 'node:fs/promises'
import { BlockList, isIP } from 'node:net'
import { basename, join } from 'node:path'
import type { MigrateOptions, PrepareMigrationOptions } from '../../../driver/index.ts'
import { bootId } from '../../../host/index.ts'
import { type Disk, type DomainDefinition, VisorError } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { encryptionOf } from '../disks/disk-secrets.ts'
import { refuseTransient } from '../disks/transient.ts'
import type { Machine } from '../machine/machine.ts'
import { refuseUnmovable } from '../machine/unmovable.ts'
import { isRecord } from '../qmp/index.ts'
import { type LiveDisk, liveDisks } from './channel.ts'
import { readCpuFeatures } from './cpu-features.ts'
import type { Copy } from './disks.ts'
import { checkGuestAbi } from './guest-abi.ts'

export interface Plan {
  readonly request: PrepareMigrationOptions
  readonly copies: readonly Copy[]
}

/** Options that mean something together, or `invalid-argument`. */
export function checkOptions(options: MigrateOptions): void {
  const { copyStorage = 'none', copyTo, disks, postcopy, postcopyAfter, timeoutAction, timeoutMs } = options
  const refuse = (message: string) => {
    throw new VisorError('invalid-argument', message)
  }
  if (copyStorage === 'none' && copyTo !== undefined)
    refuse('copyTo is of disks that are copied, and copyStorage is none.')
  if (postcopyAfter !== undefined && !postcopy) refuse('postcopyAfter is of a migration with postcopy.')
  if (timeoutAction === 'postcopy' && !postcopy)
    refuse('timeoutAction postcopy is of a migration with postcopy.')
  if (timeoutAction !== undefined && timeoutMs === undefined)
    refuse('timeoutAction is of a migration with timeoutMs.')
  if (options.parallel !== undefined && options.compression === 'xbzrle')
    refuse('xbzrle works over one connection: leave parallel out, or compress with zlib or zstd.')
  if (
    postcopy &&
    (options.parallel !== undefined || options.compression === 'zlib' || options.compression === 'zstd')
  )
    refuse('QEMU cannot use several connections in a migration with postcopy.')
  const twice = disks?.find(
    ({ target }, index) => disks.findIndex((other) => other.target === target) !== index,
  )
  if (twice) refuse(`The disk '${twice.target}' is named twice.`)
}

/** Fails with `not-found` for a disk there is not, and `unsupported-config` for a device that cannot move. */
export async function planMigration(
  machine: Machine,
  inactive: CompleteDefinition,
  options: MigrateOptions,
  id: string,
  autostart: boolean,
): Promise<Plan> {
  const { definition } = machine.details
  refuseTransient(definition, 'migrated')
  const { wanted, next } = wantedThere(definition, inactive, options)
  await refuseBlocked(machine)
  const [live, cpuFeatures] = await Promise.all([liveDisks(machine), readCpuFeatures(machine)])
  for (const { target } of options.disks ?? [])
    if (!definition.devices.disks.some((disk) => disk.target === target))
      throw new VisorError('not-found', `Domain '${definition.name}' has no disk '${target}'.`, {
        object: { kind: 'disk', name: target },
      })
  const chosen = definition.devices.disks.filter(
    (disk) => disk.file !== undefined || disk.block !== undefined,
  )
  const asked = await Promise.all(chosen.map((disk) => askForDisk(disk, live.get(disk.alias ?? ''), options)))
  const copies = chosen.flatMap((disk, index): Copy[] => {
    const node = live.get(disk.alias ?? '')?.node
    const copy = asked[index]?.copy ?? 'none'
    if (copy === 'none' || node === undefined) return []
    return [{ target: disk.target, node, sync: copy === 'all' ? 'full' : 'top' }]
  })
  const to = new URL(options.to)
  const transport = options.transport ?? (to.protocol === 'unix:' ? 'unix' : 'tcp')
  const address =
    options.address ?? (to.protocol === 'unix:' ? '127.0.0.1' : to.hostname.replace(/^\[|\]$/gu, ''))
  const { tls, postcopy, compression, parallel, unsafe } = options
  if (!tls && transport === 'tcp' && !isLoopback(address)) refuseOverheard(definition, options)
  return {
    copies,
    request: {
      ...{ id, autostart, transport, address, tls, postcopy, compression, parallel, unsafe },
      boot: bootId(),
      cpuFeatures,
      definition: definitionThere(wanted, options),
      inactive: definitionThere(next, options),
      disks: asked,
    },
  }
}

/** What is encrypted on the disk is copied as the guest sees it. */
export function refuseOverheard({ devices }: DomainDefinition, options: MigrateOptions): void {
  const disk = devices.disks.find((each) => copyOf(each, options) !== 'none' && encryptionOf(each))
  if (disk)
    throw new VisorError(
      'unsupported-config',
      `The disk '${disk.target}' is encrypted, and what is on it would cross the network unencrypted.`,
      {
        path: `devices.disks[${disk.target}]`,
        remedy: "Encrypt the way, too: 'visor migrate --tls'; or have both hosts see the same file.",
      },
    )
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

function isLoopback(address: string): boolean {
  const version = isIP(address)
  return version === 0 ? address === 'localhost' : loopback.check(address, version === 6 ? 'ipv6' : 'ipv4')
}

/** What it is to run with there, and what it is to be started with next: a change that waits for that goes along. */
function wantedThere(
  definition: CompleteDefinition,
  inactive: CompleteDefinition,
  { definition: given }: MigrateOptions,
): { readonly wanted: DomainDefinition; readonly next: DomainDefinition } {
  if (!given) return { wanted: definition, next: inactive }
  checkGuestAbi(definition, given, 'The definition')
  try {
    checkGuestAbi(inactive, given, 'The definition')
    return { wanted: given, next: given }
  } catch {
    return { wanted: given, next: inactive }
  }
}

/** A clone's disks go with its definition, so it must not be forgotten while it runs on them elsewhere. */
export function refuseLosing(
  { devices, name }: CompleteDefinition,
  owned: string,
  options: MigrateOptions,
): void {
  const lost = devices.disks.find(
    (disk) => disk.file?.startsWith(`${owned}/`) && copyOf(disk, options) === 'none',
  )
  if (options.undefineSource && lost)
    throw new VisorError(
      'unsupported-config',
      `To forget '${name}' here would remove its disk '${lost.file}'.`,
      {
        remedy: 'Copy its disks (--copy-storage all), or leave --undefine-source out.',
      },
    )
}

/** What QEMU itself says cannot move. */
async function refuseBlocked(machine: Machine): Promise<void> {
  const { monitor, details } = machine
  await refuseUnmovable(machine, 'migrated')
  const jobs = await monitor.execute('query-jobs')
  const [job] = Array.isArray(jobs) ? jobs.filter(isRecord) : []
  if (job)
    throw new VisorError(
      'invalid-state',
      `Domain '${details.definition.name}' has work on its disks under way (${String(job.type)}, ${String(job.id)}).`,
      { remedy: "Wait for it, or cancel it: 'visor jobs'." },
    )
}

function copyOf(disk: Disk, { copyStorage = 'none', disks = [] }: MigrateOptions): 'none' | 'all' | 'inc' {
  if (disk.readonly || disk.device !== 'disk') return 'none'
  return disks.length === 0 || disks.some(({ target }) => target === disk.target) ? copyStorage : 'none'
}

async function askForDisk(
  disk: Disk,
  live: LiveDisk | undefined,
  options: MigrateOptions,
): Promise<PrepareMigrationOptions['disks'][number]> {
  const path = disk.file ?? disk.block ?? ''
  const copy = copyOf(disk, options)
  const { ino, dev } = await stat(path)
  return {
    target: disk.target,
    copy,
    sizeBytes: live?.sizeBytes ?? 0,
    allocatedBytes: live?.allocatedBytes ?? 0,
    ...(Number.isSafeInteger(ino) && Number.isSafeInteger(dev) ? { inode: ino, device: dev } : {}),
    ...(copy === 'inc' && live?.base ? { base: live.base } : {}),
  }
}

/** With the name and the disks that it has there. */
export function definitionThere<T extends DomainDefinition>(definition: T, options: MigrateOptions): T {
  const { name = options.definition?.name ?? definition.name, copyTo, disks = [] } = options
  return {
    ...definition,
    name,
    devices: {
      ...definition.devices,
      disks: definition.devices.disks.map((disk) => {
        const copied = copyOf(disk, options) !== 'none'
        const here = disk.file ?? disk.block
        const there =
          disks.find(({ target }) => target === disk.target)?.file ??
          (copied && copyTo !== undefined && here !== undefined ? join(copyTo, basename(here)) : undefined)
        if (there === undefined && !(copied && disk.type === 'block')) return disk
        const { block: _, ...others } = disk
        return { ...others, type: 'file' as const, file: there ?? here }
      }),
    },
  }
}
