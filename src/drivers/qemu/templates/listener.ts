/** Who in a guest takes on the identity of a clone: a hook of its own, or the guest agent. */

import { agentChannel, isAgentConnected } from '../agent/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { consoleSocket } from '../devices/ports/ports.ts'
import type { Machine } from '../machine/machine.ts'
import { connectAgent } from './agent-listener.ts'
import { connectHook, type GuestHook, hookChannel } from './guest-hook.ts'
import type { TemplateRecord } from './record.ts'

export type Listener = NonNullable<TemplateRecord['identity']>

/** The hook looks for the host once a second; so may the agent. */
const answerTimeoutMs = 4_000

/** The alias of the channel it listens on; undefined when the machine has none. */
export function listenerAlias({ devices }: CompleteDefinition, listener: Listener): string | undefined {
  const wanted = listener === 'hook' ? hookChannel : agentChannel
  return devices.channels.find(({ name }) => name === wanted)?.alias
}

/** Connects to the channel; undefined when the machine has none. Fails with `unavailable` when nobody is there. */
export async function connectListener(
  context: Context,
  machine: Machine,
  listener: Listener | undefined,
): Promise<GuestHook | undefined> {
  const { definition } = machine.details
  const alias = listener && listenerAlias(definition, listener)
  const channel = definition.devices.channels.find((one) => one.alias === alias)
  const path = alias && channel && consoleSocket(channel, context.paths.of(definition.uuid))
  if (!path) return undefined
  return listener === 'agent' ? connectAgent(path, machine) : connectHook(path, machine)
}

export interface FoundListener {
  readonly listener: Listener
  /** Stays connected: a guest that waits for it now does so in its clones, which then need not look for it. */
  readonly hook: GuestHook
}

/** Whoever answers in a guest that runs: the hook first. */
export async function findListener(context: Context, machine: Machine): Promise<FoundListener | undefined> {
  for (const listener of ['hook', 'agent'] as const) {
    if (listener === 'agent' && !(await isAgentConnected(machine))) continue
    const hook = await connectListener(context, machine, listener).catch(() => undefined)
    if (await hook?.ping(answerTimeoutMs)) return hook && { listener, hook }
    hook?.close()
  }
  return undefined
}
