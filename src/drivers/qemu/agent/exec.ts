/** Runs a program in a guest. */
import { setTimeout as delay } from 'node:timers/promises'
import type { ExecOptions } from '../../../driver/index.ts'
import { type GuestProgram, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'
import { talkToAgent } from './channel.ts'

const slowestLookMs = 500

/**
 * Resolves when the program has ended. Between looks others may talk to the agent. Fails with `timeout` or
 * `cancelled`; the program goes on then, for the agent cannot end it.
 */
export async function execInGuest(
  context: Context,
  machine: Machine,
  { program, args = [], env = [], stdin, timeoutMs = 3_600_000, signal }: ExecOptions,
): Promise<GuestProgram> {
  const started = await talkToAgent(context, machine, (agent) =>
    agent.execute('guest-exec', {
      path: program,
      arg: args,
      env,
      ...(stdin === undefined ? {} : { 'input-data': stdin }),
      'capture-output': true,
    }),
  )
  const pid = isRecord(started) ? started.pid : undefined
  const deadline = performance.now() + timeoutMs
  for (let pause = 5; ; pause = Math.min(pause * 1.5, slowestLookMs)) {
    const status = await talkToAgent(context, machine, (agent) => agent.execute('guest-exec-status', { pid }))
    if (isRecord(status) && status.exited === true) return readProgram(status)
    if (signal?.aborted) throw goesOn('cancelled', 'was cancelled', machine, program)
    if (performance.now() > deadline) throw goesOn('timeout', 'took too long', machine, program)
    await delay(pause)
  }
}

function goesOn(
  code: 'cancelled' | 'timeout',
  what: string,
  { details }: Machine,
  program: string,
): VisorError {
  const { name } = details.definition
  return new VisorError(code, `Waiting for '${program}' in domain '${name}' ${what}; it goes on there.`)
}

function readProgram(status: Record<string, unknown>): GuestProgram {
  const { exitcode, signal, 'out-data': stdout, 'err-data': stderr } = status
  return {
    ...(typeof exitcode === 'number' ? { exitCode: exitcode } : {}),
    ...(typeof signal === 'number' ? { signal } : {}),
    stdout: typeof stdout === 'string' ? stdout : '',
    stderr: typeof stderr === 'string' ? stderr : '',
    truncated: status['out-truncated'] === true || status['err-truncated'] === true,
  }
}
