/**
 * Tells systemd-resolved, where it runs, to ask visord for names of guests: on the bridges of the networks, whose
 * settings go with them. Nothing of it is in files of the host. Source: resolvectl(1), org.freedesktop.resolve1(5).
 */
import { existsSync, readlinkSync } from 'node:fs'
import type { Log } from '../../driver/index.ts'
import { runChecked } from '../../host/index.ts'

/** A bridge, and the domains that are asked for by way of it. */
export interface NamedBridge {
  readonly bridge: string
  readonly domains: readonly string[]
}

export interface Registration {
  /** Makes it be these bridges. Never fails: what cannot be told is logged. */
  become(bridges: readonly NamedBridge[]): Promise<void>
  /** Takes it back from all. */
  close(): Promise<void>
}

const timeoutMs = 5_000
const resolvectl = (...args: string[]) => runChecked('resolvectl', args, { timeoutMs })

/** Whether it runs, and knows the links that we know: not from within a network namespace. */
function isThere(): boolean {
  try {
    return (
      existsSync('/run/systemd/resolve/resolv.conf') &&
      readlinkSync('/proc/self/ns/net') === readlinkSync('/proc/1/ns/net')
    )
  } catch {
    return false
  }
}

export function openRegistration(
  { address, port }: { readonly address: string; readonly port: number },
  log: Log,
): Registration {
  /** Domains by bridge, as it was told. */
  const told = new Map<string, string>()
  let queue = Promise.resolve()

  async function tell({ bridge, domains }: NamedBridge): Promise<void> {
    const host = address.includes(':') && port !== 53 ? `[${address}]` : address
    await resolvectl('dns', bridge, port === 53 ? address : `${host}:${port}`)
    await resolvectl('domain', bridge, ...domains.map((domain) => `~${domain}`))
    await resolvectl('default-route', bridge, 'no')
    // It is this host itself, and what it says of names of its own has no signature.
    await resolvectl('dnssec', bridge, 'no')
    await resolvectl('dnsovertls', bridge, 'no')
  }

  async function change(bridges: readonly NamedBridge[]): Promise<void> {
    const names = new Set(bridges.map(({ bridge }) => bridge))
    // With a bridge go its settings.
    for (const bridge of told.keys()) if (!names.has(bridge)) told.delete(bridge)
    if (!isThere()) return
    for (const one of bridges) {
      const domains = one.domains.join(' ')
      if (told.get(one.bridge) === domains) continue
      try {
        await tell(one)
        told.set(one.bridge, domains)
      } catch (error) {
        log.warn({ bridge: one.bridge, error: String(error) }, 'systemd-resolved was not told of a network.')
      }
    }
  }

  const inTurn = (work: () => Promise<void>) => {
    queue = queue.then(work)
    return queue
  }

  return {
    become: (bridges) => inTurn(() => change(bridges)),
    close: () =>
      inTurn(async () => {
        for (const bridge of told.keys()) await resolvectl('revert', bridge).catch(() => {})
        told.clear()
      }),
  }
}
