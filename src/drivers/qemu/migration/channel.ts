/** What memory and disks go over: where the destination listens, encryption, and how memory is sent. */
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import { grantAccess } from '../machine/access.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'

/** What both ends must agree on. */
export interface SendingMode {
  readonly postcopy?: boolean | undefined
  readonly compression?: 'xbzrle' | 'zlib' | 'zstd' | undefined
  readonly parallel?: number | undefined
  readonly autoConverge?: boolean | undefined
}

/** libvirt's, so that one rule of a firewall does for both. */
export const defaultPorts = { first: 49_152, last: 49_215 } as const
/** libvirt's and QEMU's place for them. */
const defaultCertificates = '/etc/pki/qemu'
const credentials = 'migration-tls'
/** Connections of a compression that works per connection, when it was not said how many. */
const defaultParallel = 2

/**
 * Sets the capabilities of a QEMU for one migration; those of one before are undone by that. Fails with
 * `unsupported-config` when it cannot do what is wanted.
 */
export async function setCapabilities(
  machine: Machine,
  mode: SendingMode,
  role: 'source' | 'destination',
): Promise<void> {
  const { monitor, details } = machine
  const multifd = mode.parallel !== undefined || mode.compression === 'zlib' || mode.compression === 'zstd'
  const wanted: Record<string, boolean> = {
    events: true,
    'postcopy-ram': mode.postcopy ?? false,
    multifd,
    xbzrle: mode.compression === 'xbzrle',
    ...(role === 'source'
      ? { 'pause-before-switchover': true, 'auto-converge': mode.autoConverge ?? false }
      : // Locks on disks are taken by who runs, not by who waits.
        { 'late-block-activate': true }),
  }
  const capabilities = Object.entries(wanted).map(([capability, state]) => ({ capability, state }))
  try {
    await monitor.execute('migrate-set-capabilities', { capabilities })
    if (multifd)
      await monitor.execute('migrate-set-parameters', {
        'multifd-channels': mode.parallel ?? defaultParallel,
        'multifd-compression': mode.compression === 'xbzrle' ? 'none' : (mode.compression ?? 'none'),
      })
  } catch (cause) {
    if (!(cause instanceof VisorError) || cause.code !== 'failed') throw cause
    throw new VisorError(
      'unsupported-config',
      `The QEMU at the ${role} cannot migrate domain '${details.definition.name}' like that. ${cause.message}`,
      { cause, remedy: remedyFor(cause.message, mode) },
    )
  }
}

function remedyFor(message: string, { postcopy }: SendingMode): string {
  if (postcopy && /userfault|postcopy/iu.test(message))
    return "Guests are unprivileged: set 'sysctl vm.unprivileged_userfaultfd=1' on the destination, or migrate without postcopy."
  return 'Leave that option out.'
}

/** Capabilities as they are without a migration. Never fails. */
export async function resetCapabilities({ monitor }: Machine): Promise<void> {
  const names = ['postcopy-ram', 'multifd', 'xbzrle', 'pause-before-switchover', 'auto-converge']
  const capabilities = names.map((capability) => ({ capability, state: false }))
  await monitor.execute('migrate-set-capabilities', { capabilities }).catch(() => {})
  await monitor.execute('migrate-set-parameters', { 'tls-creds': '', 'tls-hostname': '' }).catch(() => {})
  await monitor.execute('object-del', { id: credentials }).catch(() => {})
}

/**
 * Gives a QEMU the certificates of its end, under the name that is returned. Fails with `unsupported-config`
 * when one is missing.
 */
export async function addCredentials(
  { migration }: Context,
  machine: Machine,
  endpoint: 'client' | 'server',
): Promise<string> {
  const directory = migration.certificates ?? defaultCertificates
  const files = ['ca-cert.pem', `${endpoint}-cert.pem`, `${endpoint}-key.pem`].map((name) =>
    join(directory, name),
  )
  for (const file of files)
    await access(file).catch((cause) => {
      throw new VisorError('unsupported-config', `The certificate '${file}' for migration is not there.`, {
        cause,
        path: 'tls',
        remedy: `Put ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem and client-key.pem there on both hosts, or set 'migration.certificates' in the configuration of visord.`,
      })
    })
  await grantAccess(
    machine,
    files.map((path) => ({ path, what: 'certificate' })),
  )
  await machine.monitor.execute('object-del', { id: credentials }).catch(() => {})
  await machine.monitor.execute('object-add', {
    'qom-type': 'tls-creds-x509',
    id: credentials,
    dir: directory,
    endpoint,
    'verify-peer': true,
  })
  await machine.monitor.execute('migrate-set-parameters', { 'tls-creds': credentials })
  return credentials
}

/** An address in a URI: IPv6 in brackets. */
export function bracketed(address: string): string {
  return address.includes(':') ? `[${address}]` : address
}

/** What `query-migrate` tells. */
export interface MigrateStatus {
  readonly status: string
  readonly why: string | undefined
  readonly total: number
  readonly remaining: number
  readonly transferred: number
  readonly mbps: number
  readonly passes: number
}

export async function queryMigrate({ monitor }: Machine): Promise<MigrateStatus> {
  const answer = await monitor.execute('query-migrate')
  const { status = 'none', ram, 'error-desc': why } = isRecord(answer) ? answer : {}
  const number = (name: string) => (isRecord(ram) ? Number(ram[name] ?? 0) : 0)
  return {
    status: String(status),
    why: typeof why === 'string' ? why : undefined,
    total: number('total'),
    remaining: number('remaining'),
    transferred: number('transferred'),
    mbps: number('mbps'),
    passes: number('dirty-sync-count'),
  }
}

export interface LiveDisk {
  /** Name of the node that the device reads and writes. */
  readonly node: string
  readonly sizeBytes: number
  readonly allocatedBytes: number
  readonly base?: { readonly file: string; readonly format: string }
}

/** What stands behind the disks of a machine, by their aliases; asked of QEMU, which alone knows. */
export async function liveDisks({ monitor }: Machine): Promise<ReadonlyMap<string, LiveDisk>> {
  const answer = await monitor.execute('query-block')
  const found = new Map<string, LiveDisk>()
  for (const block of Array.isArray(answer) ? answer.filter(isRecord) : []) {
    const alias = /^\/machine\/peripheral\/([^/]+)/u.exec(String(block.qdev ?? ''))?.[1] ?? String(block.qdev)
    const inserted = isRecord(block.inserted) ? block.inserted : undefined
    const image = inserted && isRecord(inserted.image) ? inserted.image : undefined
    if (!inserted || !image) continue
    const { 'full-backing-filename': base, 'backing-filename-format': format } = image
    found.set(alias, {
      node: String(inserted['node-name']),
      sizeBytes: Number(image['virtual-size'] ?? 0),
      allocatedBytes: Number(image['actual-size'] ?? 0),
      ...(typeof base === 'string' && typeof format === 'string' ? { base: { file: base, format } } : {}),
    })
  }
  return found
}

export function sleep(timeoutMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeoutMs))
}
