/** How guests are reached, over whatever network they are on. */
import {
  addressSources,
  Explanation,
  GuestInterfaceAddress,
  Readiness,
  readinessPattern,
  schema as s,
} from '../../model/index.ts'
import type { PartTable } from '../operation.ts'

export interface AddressOptions {
  /** What only this source says. */
  readonly source?: (typeof addressSources)[number]
}

export interface WaitOptions {
  readonly for: string
  /** How long at most; not at all without it. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface ExplainOptions {
  /** An address, the name of a guest, `host`, or a name that the host knows. */
  readonly target: string
  /** `icmp` without a port, else `tcp`. */
  readonly proto?: 'tcp' | 'udp' | 'icmp'
  readonly port?: number
}

export interface Reach {
  /**
   * The addresses of a guest from all who know any: what DHCP gave, what is kept for it, who answered for it on the
   * host's links, what its agent says. One entry for each address of each card.
   */
  addresses(domain: string, options?: AddressOptions): Promise<GuestInterfaceAddress[]>
  /**
   * Resolves as soon as it is so, or after `timeoutMs` with why it is not so yet.
   *
   * - `ip`: it has taken an address by which it can be reached
   * - `tcp:PORT`: a program answers on the port; `ssh`: it is an SSH server, on port 22
   * - `agent`: its agent answers
   * - `booted`: its agent answers, or, before that, it has taken an address
   */
  wait(domain: string, options: WaitOptions): Promise<Readiness>
  /**
   * Follows the way that a packet of the guest takes on this host, and names the first thing that stops it, with its
   * remedy: card, link, bridge, address, routes, rules of visor and of others, translation, who should answer.
   */
  explain(domain: string, options: ExplainOptions): Promise<Explanation>
}

export const reachOperations = {
  addresses: {
    access: 'read',
    doc: 'The addresses of a guest, and who says so.',
    key: 'domain',
    options: s.object('GuestAddresses', 'Which', {
      source: s.choice('what only this source says', addressSources, { optional: true }),
    }),
    result: s.array('addresses', GuestInterfaceAddress),
  },
  wait: {
    access: 'read',
    doc: 'Waits until a guest is as far: has an address, answers on a port, has booted.',
    key: 'domain',
    options: s.object('WaitForGuest', 'For what', {
      for: s.string('ip, ssh, agent, booted or tcp:PORT', {
        pattern: readinessPattern,
        patternName: "'ip', 'ssh', 'agent', 'booted' or 'tcp:PORT'",
      }),
      timeoutMs: s.integer('at most, milliseconds', { optional: true, min: 0, max: 3_600_000 }),
    }),
    result: Readiness,
  },
  explain: {
    // It asks who is on the way, as somebody who looks for what is broken would.
    access: 'read',
    doc: 'Why a guest does not reach somebody.',
    key: 'domain',
    options: s.object('ExplainPath', 'Whom', {
      target: s.string("an address, a guest, 'host', or a name", { minLength: 1, maxLength: 255 }),
      proto: s.choice('protocol; tcp with a port', ['tcp', 'udp', 'icmp'], { optional: true }),
      port: s.integer('port', { optional: true, min: 1, max: 65_535 }),
    }),
    result: Explanation,
  },
} as const satisfies PartTable<Reach>
