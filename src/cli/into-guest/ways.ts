/** Which way into a guest is open: its agent, else ssh. */
import type { CompleteConnection } from '../../driver/index.ts'
import { type Domain, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { findSsh, runningMachine, type SshTarget } from './ssh-target.ts'

export type Way =
  | { readonly by: 'agent'; readonly machine: Domain }
  | { readonly by: 'ssh'; readonly machine: Domain; readonly target: SshTarget }

export interface WayWish {
  /** What the agent has to be able to do. */
  readonly commands: readonly string[]
  /** Only this way. */
  readonly via?: 'agent' | 'ssh' | undefined
}

/**
 * The first way that is open. Fails with `invalid-state` when the machine does not run, and with `unavailable` and what
 * is in the way of each when none is open.
 */
export async function findWay(
  context: Context,
  connection: CompleteConnection,
  domain: string,
  { commands, via }: WayWish,
): Promise<Way> {
  const machine = await runningMachine(connection, domain)
  const reasons: string[] = []
  if (via !== 'ssh') {
    const reason = await whyNoAgent(connection, machine, commands)
    if (reason === undefined) return { by: 'agent', machine }
    reasons.push(reason)
  }
  if (via !== 'agent') {
    const found = await findSsh(connection, machine, { timeoutMs: 0, signal: context.signal })
    if (typeof found !== 'string') return { by: 'ssh', machine, target: found }
    reasons.push(found)
  }
  const { name } = machine
  throw new VisorError('unavailable', `There is no way into '${name}' now. ${reasons.join(' ')}`, {
    remedy: `If it still boots, wait for it: 'visor wait ${name} --for ${via ?? 'agent'}'. Else install qemu-guest-agent or an SSH server in it, or use 'visor console ${name}'.`,
    object: { kind: 'domain', name },
  })
}

async function whyNoAgent(
  { reach, agent }: CompleteConnection,
  { uuid, name }: Domain,
  wanted: readonly string[],
): Promise<string | undefined> {
  const found = await reach.wait(uuid, { for: 'agent' })
  if (!found.reached) return found.message
  const { commands } = await agent.info(uuid)
  const missing = wanted.filter((command) => !commands.includes(command))
  return missing.length === 0
    ? undefined
    : `The agent of '${name}' answers, but its guest does not let it do ${missing.join(', ')}.`
}
