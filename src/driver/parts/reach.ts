/** How guests are reached, over whatever network they are on. */
import {
  addressSources,
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
} as const satisfies PartTable<Reach>
