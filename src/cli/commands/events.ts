import { type Command, Option } from 'commander'
import type { Event } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import type { Colours } from '../output.ts'
import { joinWords } from '../page.ts'
import { padText, safeText } from '../text-width.ts'
import { parseCount, parseDuration } from '../units.ts'

interface EventFlags {
  readonly after?: string
  readonly kind?: readonly string[]
  readonly count?: string
  readonly timeout?: string
}

export function configure(command: Command, context: Context): void {
  command
    .description('Follow what happens, one line each, until Ctrl-C. With --json, one JSON document a line.')
    .argument('[domains...]', 'only about these: names or uuids')
    .option('--after <id>', 'begin just after this event, with what was missed since')
    .addOption(
      new Option('--kind <kinds...>', 'only about these').choices(['domain', 'job', 'image', 'daemon']),
    )
    .option('-n, --count <n>', 'end after so many')
    .option('-t, --timeout <time>', 'end after this time: 90, 5m')
    .action((domains: string[], flags: EventFlags) => follow(context, domains, flags))
  addExamples(command, [
    ['visor events', 'everything, as it happens'],
    ['visor events web --json', 'for programs, one machine'],
    ['visor events web --kind domain --count 1', 'wait for the next thing to happen to it'],
  ])
}

async function follow(context: Context, domains: readonly string[], flags: EventFlags): Promise<void> {
  const { output } = context
  const limit = flags.count === undefined ? Infinity : parseCount(flags.count, 'The count', 1, 1_000_000_000)
  const signals = [context.signal]
  if (flags.timeout !== undefined)
    signals.push(AbortSignal.timeout(parseDuration(flags.timeout, 'The timeout')))
  const signal = AbortSignal.any(signals)
  await context.connected(async (connection) => {
    const { after } = flags
    let seen = 0
    for await (const event of connection.events({ signal, ...(after !== undefined && { after }) })) {
      if (!isWanted(event, domains, flags.kind)) continue
      output.write(output.json ? `${JSON.stringify(event)}\n` : formatEvent(event, output.colours))
      if (++seen >= limit) break
    }
  })
}

function isWanted(event: Event, domains: readonly string[], kinds: readonly string[] | undefined): boolean {
  if (event.kind === 'daemon') return kinds === undefined || kinds.includes('daemon')
  if (kinds && !kinds.includes(event.kind)) return false
  const target = event.kind === 'job' ? (event.data as { target?: string } | undefined)?.target : undefined
  return (
    domains.length === 0 || [event.uuid, event.name, target].some((word) => word && domains.includes(word))
  )
}

const colourOf: Record<string, keyof Colours & ('green' | 'red' | 'yellow')> = {
  started: 'green',
  resumed: 'green',
  done: 'green',
  crashed: 'red',
  failed: 'red',
  suspended: 'yellow',
  stopping: 'yellow',
  cancelled: 'yellow',
}

/** '14:03:07  domain  web  started  (booted)' */
export function formatEvent(event: Event, colours: Colours): string {
  const time = new Date(event.time)
  const clock = Number.isNaN(time.valueOf()) ? event.time : time.toTimeString().slice(0, 8)
  const colour = colourOf[event.type]
  const type = padText(safeText(event.type), 10)
  const about = safeText(
    joinWords([event.reason && `(${event.reason})`, event.message, progressOf(event)], ' '),
  )
  const who = padText(safeText(event.name ?? event.uuid ?? 'visord'), 20)
  return (
    `${colours.dim(safeText(clock))}  ${padText(event.kind, 6)}  ${colours.bold(who)}  ${colour ? colours[colour](type) : type}  ${about}`.trimEnd() +
    '\n'
  )
}

function progressOf({ kind, data }: Event): string | undefined {
  if (kind !== 'job' || typeof data !== 'object' || data === null) return undefined
  const { progress } = data as { progress?: { phase?: string; done?: number; total?: number } }
  if (!progress) return undefined
  const { phase, done, total } = progress
  return joinWords(
    [phase, done !== undefined && total ? `${Math.floor((100 * done) / total)} %` : undefined],
    ' ',
  )
}
