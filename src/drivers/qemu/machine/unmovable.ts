/** What keeps the state of a machine from being written or sent. */
import { VisorError } from '../../../model/index.ts'
import { isRecord } from '../qmp/index.ts'
import type { Machine } from './machine.ts'

/**
 * Fails with `unsupported-config` when QEMU says that a device keeps its state from leaving it, before anything
 * happens; `what` is what cannot be done, as in `cannot be saved`.
 */
export async function refuseUnmovable(
  { monitor, details }: Machine,
  what: string,
  instead = '',
): Promise<void> {
  const reasons = await blockedReasons(monitor)
  if (reasons.length === 0) return
  const { name, devices } = details.definition
  const shares = devices.filesystems.filter(({ driver }) => driver === 'virtiofs')
  const isShare = shares.length > 0 && reasons.some((reason) => reason.includes('vhost-user-fs'))
  const mounted = reasons.map((reason) => /VirtFS .*mount_tag '(.*)'/u.exec(reason)?.[1]).find(Boolean)
  const object = { kind: 'domain', name } as const
  if (isShare)
    throw new VisorError(
      'unsupported-config',
      `Domain '${name}' cannot be ${what}: this QEMU cannot take the state of its virtiofs share${shares.length > 1 ? 's' : ''} ${shares.map(({ target }) => `'${target}'`).join(', ')} along.`,
      {
        object,
        remedy: `Unmount and detach ${shares.length > 1 ? 'them' : 'it'} first ('visor detach ${name} ${shares[0]?.target}')${instead}.`,
      },
    )
  if (mounted !== undefined)
    throw new VisorError(
      'unsupported-config',
      `Domain '${name}' cannot be ${what}: its guest has the 9p share '${mounted}' mounted.`,
      { object, remedy: `Unmount it in the guest first${instead}.` },
    )
  throw new VisorError(
    'unsupported-config',
    `Domain '${name}' cannot be ${what}: ${reasons.join(' ').replace(/\.?$/u, '.')}`,
    { object },
  )
}

/** What QEMU says keeps it from giving its state away, in its own words. */
export async function blockedReasons(monitor: Machine['monitor']): Promise<string[]> {
  const answer = await monitor.execute('query-migrate')
  const reasons = isRecord(answer) ? answer['blocked-reasons'] : undefined
  return Array.isArray(reasons) ? reasons.map(String) : []
}
