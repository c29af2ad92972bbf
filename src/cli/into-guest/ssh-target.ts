/** Where a machine takes ssh. */
import { setTimeout as delay } from 'node:timers/promises'
import type { CompleteConnection } from '../../driver/index.ts'
import { knock } from '../../host/index.ts'
import { type Domain, type DomainDefinition, VisorError } from '../../model/index.ts'

const sshPort = 22
/** Asked anew after this long, so that what is in the way can be shown. */
const sliceMs = 2_000

export interface SshTarget {
  readonly machine: Pick<Domain, 'uuid' | 'name'>
  readonly address: string
  readonly port: number
}

export interface SshWish {
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** Told why it is not so yet. */
  readonly onWait?: (message: string) => void
}

/** The host that visord is on, where it is another: the addresses of its guests may be anybody's here. */
export function otherHost({ uri }: Pick<CompleteConnection, 'uri'>): string | undefined {
  const address = URL.parse(uri)
  if (!address || !/^https?:$/u.test(address.protocol)) return undefined
  const isHere = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/u.test(address.hostname)
  return isHere ? undefined : address.host
}

/** The machine, which has to run: fails with `invalid-state` when it does not. */
export async function runningMachine({ domains }: CompleteConnection, domain: string): Promise<Domain> {
  const machine = await domains.get(domain)
  if (machine.state === 'running') return machine
  throw new VisorError('invalid-state', `'${machine.name}' does not run: it is ${machine.state}.`, {
    remedy: `Run it: 'visor ${machine.state === 'paused' ? 'resume' : 'start'} ${machine.name}'.`,
    object: { kind: 'domain', name: machine.name },
  })
}

/** Where an SSH server of the machine answers; in a sentence why none does, when none did in time. */
export async function findSsh(
  connection: CompleteConnection,
  machine: Domain,
  { timeoutMs, signal, onWait }: SshWish,
): Promise<SshTarget | string> {
  const other = otherHost(connection)
  if (other !== undefined)
    return `Its visord is on another host (${other}), and ssh goes from the host of the machine: log in there first.`
  const forward = forwardTo(await connection.domains.describe(machine.uuid), sshPort)
  const deadline = performance.now() + timeoutMs
  for (;;) {
    if (forward) {
      const knocked = await knock(forward.address, forward.port, { listen: true, signal })
      if (knocked.answer === 'open' && knocked.said.startsWith('SSH-')) return { machine, ...forward }
    }
    const sliceLeft = Math.round(Math.max(0, Math.min(sliceMs, deadline - performance.now())))
    const found = await connection.reach.wait(machine.uuid, { for: 'ssh', timeoutMs: sliceLeft, signal })
    if (found.reached && found.address !== undefined)
      return { machine, address: found.address, port: sshPort }
    if (signal.aborted) throw new VisorError('cancelled', 'Cancelled.')
    if (performance.now() >= deadline) return found.message
    onWait?.(found.message)
    await delay(10)
  }
}

/** The port of this host that leads to a port of the guest, where it is on QEMU's own network. */
export function forwardTo(
  { devices }: Pick<DomainDefinition, 'devices'>,
  wanted: number,
): { readonly address: string; readonly port: number } | undefined {
  for (const { portForwards } of devices.interfaces)
    for (const { proto, address, ranges } of portForwards ?? []) {
      if (proto !== 'tcp') continue
      for (const { start, end = start, to = start, exclude } of ranges) {
        if (exclude || wanted < to || wanted - to > end - start) continue
        const isAny = address === undefined || address === '0.0.0.0' || address === '::'
        return { address: isAny ? '127.0.0.1' : address, port: start + wanted - to }
      }
    }
  return undefined
}
