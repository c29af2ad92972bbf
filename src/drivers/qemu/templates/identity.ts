/** Tells a clone who it is. */
import { randomBytes } from 'node:crypto'
import type { CompleteDefinition } from '../definition/definition.ts'
import type { Machine } from '../machine/machine.ts'
import type { GuestHook } from './guest-hook.ts'

/** A guest under emulation on a busy host takes a while. */
const identityTimeoutMs = 30_000

export interface Identity {
  readonly definition: CompleteDefinition
  /** Whose addresses its cards have now. */
  readonly before: CompleteDefinition
}

/** The cable of every card: out while two machines have one address. */
export function setLinks(
  { monitor }: Machine,
  { devices }: CompleteDefinition,
  up: boolean,
): Promise<unknown> {
  return Promise.all(
    devices.interfaces
      .filter(({ link }) => link !== 'down')
      .map(({ alias }) => monitor.execute('set_link', { name: alias, up })),
  )
}

/**
 * All that makes it another machine than its template, in the order of urgency: what it does must be random
 * by itself before anything else, and takes a moment; the clock and the addresses take longer.
 */
export function identityLines({ definition, before }: Identity): { first: string[]; later: string[] } {
  const macs = definition.devices.interfaces.flatMap(({ mac = '', alias }) => {
    const old = before.devices.interfaces.find((one) => one.alias === alias)?.mac
    return old === undefined ? [] : [`mac ${old} ${mac}`]
  })
  return {
    first: [
      `entropy ${randomBytes(32).toString('hex')}`,
      `machine-id ${definition.uuid.replaceAll('-', '')}`,
      hostnameLine(definition),
    ],
    later: [timeLine(), ...macs],
  }
}

/** What is left to say to one that waited in the pool. */
export function nameLines(definition: CompleteDefinition): string[] {
  return [timeLine(), hostnameLine(definition)]
}

const timeLine = () => `time ${Math.round(Date.now() / 1000)}`
const hostnameLine = ({ name }: CompleteDefinition) => `hostname ${hostname(name)}`

/** Names of machines may be more than RFC 1123 allows a host to be called. */
function hostname(name: string): string {
  const sound = name.replaceAll(/[^a-z0-9-]+/giu, '-').replaceAll(/^-+|-+$/gu, '')
  return sound.slice(0, 63).replace(/-+$/u, '') || 'clone'
}

export function tellIdentity(hook: GuestHook, lines: readonly string[]): Promise<void> {
  return hook.tell(lines, identityTimeoutMs)
}
