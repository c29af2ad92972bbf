import { type Command, InvalidArgumentError } from 'commander'
import { type Readiness, readinessPattern, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { safe } from '../page.ts'
import { withProgress } from '../progress.ts'
import { parseDuration } from '../units.ts'

/** Asked anew after this long, so that what is in the way can be shown. */
const sliceMs = 2_000

export function configure(command: Command, context: Context): void {
  command
    .description('Wait until a machine is as far: it has an address, answers on a port, has booted.')
    .argument('<domain>', 'name or uuid')
    .option('--for <what>', 'ip, ssh, agent, booted or tcp:PORT', checkCondition, 'booted')
    .option('-t, --timeout <time>', 'give up after this time: 90, 5m', '5m')
    .action((domain: string, flags: WaitFlags) => waitFor(context, domain, flags))
  addExamples(command, [
    ['visor wait web', 'its agent answers, or it has taken an address'],
    ['visor wait web --for ssh --timeout 2m && ssh root@$(visor domifaddr web -q)', 'log in when it can be'],
    ['visor wait web --for tcp:8080', 'a program answers on the port'],
  ])
}

interface WaitFlags {
  readonly for: string
  readonly timeout: string
}

function checkCondition(text: string): string {
  if (!readinessPattern.test(text))
    throw new InvalidArgumentError('Write ip, ssh, agent, booted or tcp:PORT.')
  return text
}

async function waitFor(context: Context, domain: string, flags: WaitFlags): Promise<void> {
  const { output, signal } = context
  const deadline = performance.now() + parseDuration(flags.timeout, 'The timeout')
  const found = await context.connected(({ reach }) =>
    withProgress(output, `Waiting for ${domain}`, signal, async ({ progress }) => {
      for (;;) {
        const timeoutMs = Math.round(Math.max(0, Math.min(sliceMs, deadline - performance.now())))
        const now = await reach.wait(domain, { for: flags.for, timeoutMs, signal })
        if (now.reached || performance.now() >= deadline) return now
        progress({ phase: now.message })
      }
    }),
  )
  if (!found.reached) throw tooLate(domain, flags, found)
  output.print(found, () => (found.address === undefined || !output.quiet ? '' : `${found.address}\n`))
  output.note(`${output.noteColours.green('✓')} ${safe(found.message)}`)
}

const tooLate = (domain: string, { for: condition, timeout }: WaitFlags, { message }: Readiness) =>
  new VisorError('timeout', `'${domain}' was not ready (${condition}) within ${timeout}: ${message}`, {
    remedy: `Wait longer (--timeout), or see what it prints: 'visor console ${domain} --log'.`,
    object: { kind: 'domain', name: domain },
  })
