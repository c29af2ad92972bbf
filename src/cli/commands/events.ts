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
      new Option('--kind <kinds...>', 'only about these').choices([
        'domain',
        'job',
        'image',
        'network',
        'daemon',
      ]),
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
    const names = domainNames(connection)
    const wanted = await Promise.all(domains.map(async (name) => (await connection.domains.get(name)).uuid))
    let seen = 0
    for await (const event of connection.events({ signal, ...(after !== undefined && { after }) })) {
      if (!isWanted(event, wanted, flags.kind)) continue
      if (output.json) output.write(`${JSON.stringify(event)}\n`)
      else output.write(formatEvent(event, output.colours, await names(event)))
      if (++seen >= limit) break
    }
  })
}

/** What a job works on, by name; the names there are, asked again when one is new. */
function domainNames({ domains }: Connected): (event: Event) => Promise<string | undefined> {
  let known = new Map<string, string>()
  return async (event) => {
    const target = targetOf(event)
    if (target === undefined || target.startsWith('name:')) return target?.slice('name:'.length)
    if (!known.has(target))
      known = new Map((await domains.list().catch(() => [])).map(({ uuid, name }) => [uuid, name]))
    return known.get(target) ?? target
  }
}
type Connected = Parameters<Parameters<Context['connected']>[0]>[0]

function targetOf({ kind, data }: Event): string | undefined {
  return kind === 'job' ? (data as { target?: string } | undefined)?.target : undefined
}

function isWanted(event: Event, uuids: readonly string[], kinds: readonly string[] | undefined): boolean {
  if (event.kind === 'daemon') return kinds === undefined || kinds.includes('daemon')
  if (kinds && !kinds.includes(event.kind)) return false
  return uuids.length === 0 || [event.uuid, targetOf(event)].some((uuid) => uuid && uuids.includes(uuid))
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

/** What events of visord itself mean. */
const messages: Readonly<Record<string, string>> = {
  resync: 'some events were missed here',
}

/** '14:03:07  domain  web  started  (booted)'; `target` is what a job works on. */
export function formatEvent(event: Event, colours: Colours, target?: string): string {
  const time = new Date(event.time)
  const clock = Number.isNaN(time.valueOf()) ? event.time : time.toTimeString().slice(0, 8)
  const colour = colourOf[event.type]
  const type = padText(safeText(event.type), 10)
  const about = safeText(
    joinWords(
      [
        target && event.name,
        event.reason && `(${event.reason})`,
        event.message ?? messages[event.type],
        progressOf(event),
      ],
      ' ',
    ),
  )
  const who = padText(safeText(target ?? event.name ?? event.uuid ?? 'visord'), 20)
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
