/** Tells the agent of a guest what else a hook would be told: it runs a script with the lines as its input. */
import { VisorError } from '../../../model/index.ts'
import { type AgentSession, openSession, takeTurn } from '../agent/index.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'
import { agentScript } from './agent-script.ts'
import type { GuestHook } from './guest-hook.ts'

/** Time for each answer of the agent, which may still have to run. */
const answerTimeoutMs = 30_000

/** Keeps the agent's channel until it is closed; others wait. Fails with `unavailable` when there is no socket. */
export async function connectAgent(path: string, machine: Machine): Promise<GuestHook> {
  const { name } = machine.details.definition
  const giveBack = await takeTurn(machine)
  const session = await openSession({
    ...{ name, path, timeoutMs: answerTimeoutMs, guest: machine.guest.identity },
  }).catch((error: unknown) => {
    giveBack()
    throw error
  })
  let synced: Promise<void> | undefined
  let last: Promise<unknown> = Promise.resolve()

  async function tell(lines: readonly string[], timeoutMs: number): Promise<void> {
    synced ??= session.sync(timeoutMs)
    await synced.catch((error: unknown) => {
      synced = undefined
      throw error
    })
    await run(session, name, lines, timeoutMs)
  }

  /** One after another: the agent answers in order. */
  function queue(lines: readonly string[], timeoutMs: number): Promise<void> {
    const told = last.then(() => tell(lines, timeoutMs))
    last = told.catch(() => {})
    return told
  }

  return {
    tell: queue,
    ping: (timeoutMs) =>
      queue([], timeoutMs).then(
        () => true,
        () => false,
      ),
    post: (line) => void queue([line], answerTimeoutMs).catch(() => {}),
    close() {
      void last.then(() => {
        session.close()
        giveBack()
      })
    },
  }
}

async function run(
  agent: AgentSession,
  name: string,
  lines: readonly string[],
  timeoutMs: number,
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  const started = await agent.execute(
    'guest-exec',
    {
      path: '/bin/sh',
      arg: ['-c', agentScript],
      'input-data': Buffer.from(lines.map((line) => `${line}\n`).join('')).toString('base64'),
    },
    { timeoutMs },
  )
  const pid = isRecord(started) ? started.pid : undefined
  for (let pause = 2; ; pause = Math.min(pause * 1.5, 200)) {
    const status = await agent.execute('guest-exec-status', { pid }, { timeoutMs })
    if (isRecord(status) && status.exited === true) {
      if (status.exitcode === 0) return
      throw new VisorError('unavailable', `The shell in domain '${name}' does not do what its agent asks.`)
    }
    if (performance.now() > deadline)
      throw new VisorError('unavailable', `The guest agent of domain '${name}' is not done in time.`)
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}
