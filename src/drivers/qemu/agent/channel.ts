/** The channel of a machine's guest agent: one talks at a time, since the agent answers in order. */
import { VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import { consoleSocket } from '../devices/ports/ports.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'
import { type AgentSession, agentChannel, withSession } from './session.ts'

const defaultTimeoutMs = 5_000
/** Who is to talk next, by machine. */
const turns = new WeakMap<Machine, Promise<unknown>>()

/** Socket of the agent's channel; undefined when the machine has none. */
export function agentSocket(context: Context, { details }: Machine): string | undefined {
  const { uuid, devices } = details.definition
  const channel = devices.channels.find(({ name }) => name === agentChannel)
  return channel && consoleSocket(channel, context.paths.of(uuid))
}

/**
 * Talks to the agent when its turn comes. Fails with `unavailable` when the machine has no channel for it,
 * or no agent answers within `timeoutMs`.
 */
export function talkToAgent<T>(
  context: Context,
  machine: Machine,
  work: (session: AgentSession) => Promise<T>,
  { timeoutMs = defaultTimeoutMs }: { readonly timeoutMs?: number } = {},
): Promise<T> {
  const { name } = machine.details.definition
  const path = agentSocket(context, machine)
  if (path === undefined) return Promise.reject(noAgent(machine))
  const before = turns.get(machine) ?? Promise.resolve()
  const talk = before.then(() => withSession({ name, path, timeoutMs, guest: machine.guest.identity }, work))
  turns.set(
    machine,
    talk.catch(() => {}),
  )
  return talk
}

/** Keeps the channel of a machine for one who talks for longer, until it is given back; resolves when its turn comes. */
export async function takeTurn(machine: Machine): Promise<() => void> {
  const before = turns.get(machine) ?? Promise.resolve()
  const turn = Promise.withResolvers<void>()
  turns.set(machine, turn.promise)
  await before
  return turn.resolve
}

/** Whether a program in the guest has the channel open. */
export async function isAgentConnected({ monitor, details }: Machine): Promise<boolean> {
  const channel = details.definition.devices.channels.find(({ name }) => name === agentChannel)
  const answer = await monitor.execute('query-chardev').catch(() => [])
  const found = (Array.isArray(answer) ? answer : []).find(
    (one) => isRecord(one) && one.label === `char${channel?.alias}`,
  )
  return isRecord(found) && found['frontend-open'] === true
}

export function noAgent({ details }: Machine): VisorError {
  return new VisorError(
    'unavailable',
    `Domain '${details.definition.name}' has no channel for a guest agent.`,
    { remedy: `Add a channel with the name '${agentChannel}' to its definition, and start it anew.` },
  )
}
