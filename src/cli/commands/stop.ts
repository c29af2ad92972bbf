import { type Command, Option } from 'commander'
import type { CompleteConnection } from '../../driver/index.ts'
import { VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { type DomainCall, eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'
import { formatDuration, parseDuration } from '../units.ts'
import { whenOff } from '../when-off.ts'

interface StopFlags {
  readonly timeout: string
  readonly force?: true
  readonly wait: boolean
  readonly mode?: 'auto' | 'acpi' | 'agent'
}

export function configure(command: Command, context: Context): void {
  command
    .description('Ask machines to power off, as their power button would, and wait until they are off.')
    .argument('<domains...>', 'names or uuids')
    .option('-t, --timeout <time>', 'how long to wait: 90, 5m', '60')
    .option('-f, --force', 'take the power away when it is not off by then')
    .option('--no-wait', 'only ask')
    .addOption(new Option('--mode <how>', 'how the guest is asked').choices(['auto', 'acpi', 'agent']))
    .action(async (domains: string[], flags: StopFlags) => {
      const timeoutMs = parseDuration(flags.timeout, 'The timeout')
      await eachDomain(context, domains, {
        doing: 'Waiting for',
        done: 'is off',
        run: (target) => stop(target, flags, timeoutMs),
      })
    })
  addExamples(command, [
    ['visor stop web', 'waits a minute at most'],
    ['visor stop web db --timeout 10 --force', 'off in any case'],
  ])
}

async function stop(
  { connection, name, call }: DomainCall,
  flags: StopFlags,
  timeoutMs: number,
): Promise<string> {
  const mode = flags.mode ? { mode: flags.mode } : {}
  if (!flags.wait) {
    await connection.domains.shutdown(name, { ...call, ...mode })
    return 'was asked to power off'
  }
  const { uuid } = await connection.domains.get(name)
  const off = await whenOff(connection, uuid, { timeoutMs, signal: call.signal }, () =>
    ask(connection, uuid, { ...call, ...mode }, flags.force ?? false),
  )
  if (off) return off === 'crashed' ? 'crashed while it stopped' : 'is off'
  if (!flags.force) throw stillRuns(name, timeoutMs)
  await connection.domains.destroy(uuid, call)
  return `did not power off within ${formatDuration(timeoutMs)}, so its power was taken away`
}

/** A paused machine cannot hear the power button: with `--force` that is no reason to fail. */
async function ask(
  connection: CompleteConnection,
  uuid: string,
  call: Parameters<CompleteConnection['domains']['shutdown']>[1],
  force: boolean,
): Promise<void> {
  try {
    await connection.domains.shutdown(uuid, call)
  } catch (error) {
    const { state } = await connection.domains.get(uuid)
    const deaf = error instanceof VisorError && ['invalid-state', 'unsupported'].includes(error.code)
    if (!force || !deaf || state === 'shutoff') throw error
    await connection.domains.destroy(uuid, call)
  }
}

function stillRuns(name: string, timeoutMs: number): VisorError {
  return new VisorError(
    'timeout',
    `'${name}' was asked to power off and still runs after ${formatDuration(timeoutMs)}.`,
    {
      remedy: `Wait longer (--timeout), or take its power away: visor destroy ${name}`,
      object: { kind: 'domain', name },
    },
  )
}
