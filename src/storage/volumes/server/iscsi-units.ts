/**
 * What an iSCSI target has: its logical units, as libiscsi's iscsi-ls(1) lists them, and their sizes, as QEMU sees
 * them. Both log in by themselves: the host needs no initiator of its own.
 */
import { run, runChecked } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import { type NetworkPlace, nameNetworkImage } from './network-image.ts'

export interface IscsiUnit {
  readonly unit: number
  readonly sizeBytes: number
}

const patienceMs = 30_000
const mostUnits = 1024

export interface IscsiTarget {
  readonly host: string
  readonly port: number
  readonly target: string
  readonly initiator?: string | undefined
  readonly login?: { readonly username: string; readonly password: string } | undefined
}

/** The disks of a target, by number. Fails with `unavailable` or `denied`, naming the server. */
export async function listIscsiUnits(
  target: IscsiTarget,
  place: (unit: number) => NetworkPlace,
  signal: AbortSignal | undefined,
): Promise<IscsiUnit[]> {
  const { host, port, initiator, login } = target
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const { code, stdout, stderr } = await run(
    'iscsi-ls',
    ['-s', ...(initiator === undefined ? [] : ['-i', initiator]), `iscsi://${address}/`],
    {
      timeoutMs: patienceMs,
      maxBytes: 2 ** 20,
      // What is on its command line everybody reads. Source: libiscsi's README, CHAP authentication.
      env: {
        ...process.env,
        ...(login && { LIBISCSI_CHAP_USERNAME: login.username, LIBISCSI_CHAP_PASSWORD: login.password }),
      },
      ...(signal && { signal }),
    },
  ).catch((cause: unknown) => {
    if (cause instanceof VisorError && cause.code === 'unavailable')
      throw new VisorError('unavailable', cause.message, { cause, remedy: 'Install libiscsi-bin.' })
    throw cause
  })
  const units = parseUnits(stdout, target.target)
  // It ends at the first target that does not let it in, which may be another one.
  if (code !== 0 && !units?.length) throw cannotAsk(address, `${stdout}\n${stderr}`)
  if (!units)
    throw new VisorError('not-found', `The iSCSI server at ${address} has no target '${target.target}'.`, {
      remedy: `See which it has: iscsi-ls iscsi://${address}/`,
    })
  const found: IscsiUnit[] = []
  for (const unit of units) {
    const sizeBytes = await sizeOf(place(unit), signal)
    if (sizeBytes !== undefined) found.push({ unit, sizeBytes })
  }
  return found
}

/** The numbers of the disks of a target; undefined when there is no such target. Exported for its tests. */
export function parseUnits(text: string, target: string): number[] | undefined {
  let units: number[] | undefined
  let isOurs = false
  for (const line of text.split('\n')) {
    const named = /^Target:(?<name>\S+)/u.exec(line)?.groups?.name
    if (named !== undefined) isOurs = named === target
    if (named !== undefined && isOurs) units ??= []
    const unit = /^Lun:(?<unit>\d{1,5})\s+Type:DIRECT_ACCESS\b/u.exec(line)?.groups?.unit
    if (isOurs && unit !== undefined && units && units.length < mostUnits && !units.includes(Number(unit)))
      units.push(Number(unit))
  }
  return units
}

/** Undefined for one that is no disk that can be read. */
async function sizeOf(place: NetworkPlace, signal: AbortSignal | undefined): Promise<number | undefined> {
  const { flags, name } = nameNetworkImage(place)
  const { stdout } = await runChecked('qemu-img', ['info', '--output=json', '-U', ...flags, name], {
    timeoutMs: patienceMs,
    maxBytes: 2 ** 20,
    ...(signal && { signal }),
  }).catch((cause: unknown) => {
    if (cause instanceof VisorError && /Unknown (?:driver|protocol) 'iscsi'/u.test(cause.message))
      throw new VisorError('unavailable', 'The qemu-img here knows no iSCSI.', {
        cause,
        remedy: 'Install qemu-block-extra.',
      })
    throw cause
  })
  const size: unknown = JSON.parse(stdout)['virtual-size']
  return typeof size === 'number' && Number.isSafeInteger(size) && size > 0 ? size : undefined
}

function cannotAsk(address: string, said: string): VisorError {
  const words = said.split('\n').findLast((line) => /fail|error|cannot/iu.test(line)) ?? 'it does not answer.'
  if (/auth|login/iu.test(said))
    return new VisorError('denied', `The iSCSI server at ${address} does not let visor in: ${words}`, {
      remedy: "Name user and secret in the pool: 'source.auth'; see that the secret has the right value.",
    })
  return new VisorError('unavailable', `The iSCSI server at ${address} cannot be asked: ${words}`, {
    remedy: 'See that it runs there, and that nothing is in the way: nc -vz HOST PORT.',
  })
}
