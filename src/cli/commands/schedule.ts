import { type Command, InvalidArgumentError, Option } from 'commander'
import type { CompleteConnection } from '../../driver/index.ts'
import {
  type Retention,
  type Schedule,
  type ScheduleDefinitionInput,
  type ScheduleRun,
  VisorError,
} from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { formatSection, safe } from '../page.ts'
import { withProgress } from '../progress.ts'
import { formatTable } from '../table.ts'
import { formatAgo } from '../units.ts'

const named = 'its name'

interface CreateFlags {
  readonly hourly?: true
  readonly daily?: string | true
  readonly weekly?: string | true
  readonly monthly?: string | true
  readonly cron?: string
  readonly timezone?: string
  readonly all?: true
  readonly memory?: true
  readonly quiesce?: 'auto' | 'required' | 'never'
  readonly kind?: 'internal' | 'external'
  readonly description?: string
  readonly catchUp: boolean
  readonly keepLast?: number
  readonly keepHourly?: number
  readonly keepDaily?: number
  readonly keepWeekly?: number
  readonly keepMonthly?: number
  readonly keepYearly?: number
  readonly keepWithin?: number
}

export function configure(command: Command, context: Context): void {
  command.description('Take snapshots of machines again and again, and remove those that have expired.')
  const sub = (name: string, description: string) => command.command(name).description(description)
  const list = command
    .command('list', { isDefault: true })
    .description('List them: when they come, and how it went.')
    .action(() => listSchedules(context))
  const create = sub('create', 'Make a schedule, or replace the one of this name.')
    .argument('<name>', 'its name')
    .argument('[domains...]', 'of which machines')
    .option('--all', 'of all machines, also of those that come later')
    .addOption(when('--hourly', 'at the beginning of each hour'))
    .addOption(when('--daily [time]', "each day, at 00:00 or '03:30'"))
    .addOption(when('--weekly [time]', "each week, Sunday 00:00 or 'Mon 03:30'"))
    .addOption(when('--monthly [time]', "each month, on the 1st at 00:00 or '15 03:30'"))
    .addOption(when('--cron <expression>', "as crontab(5) says it: '*/10 8-18 * * 1-5'"))
    .option('--timezone <zone>', "of these times: 'Europe/Berlin'; that of the host without it")
    .option('--no-catch-up', 'not late, when the time passed while visord did not run')
    .option('--description <text>', 'any text about it')
    .addOption(new Option('--kind <kind>', 'where they are kept').choices(['internal', 'external']))
    .option('--memory', 'of memory too, where a machine runs')
    .addOption(
      new Option(
        '--quiesce <when>',
        "freeze file systems by the guest's agent: where one answers, always, never",
      ).choices(['auto', 'required', 'never']),
    )
    .option('--keep-last <n>', 'keep the newest so many', count)
    .option('--keep-hourly <n>', 'the newest of each of so many hours', count)
    .option('--keep-daily <n>', 'of so many days', count)
    .option('--keep-weekly <n>', 'of so many weeks', count)
    .option('--keep-monthly <n>', 'of so many months', count)
    .option('--keep-yearly <n>', 'of so many years', count)
    .option('--keep-within <time>', "all of the last '48h', '30d', '8w'", hours)
    .action((name: string, domains: string[], flags: CreateFlags) =>
      createSchedule(context, name, domains, flags),
    )
  const show = sub('show', 'Show a schedule, and what came of it the last time.')
    .argument('<schedule>', named)
    .action((name: string) => showSchedule(context, name))
  const run = sub('run', 'Do it now, whatever its time.')
    .argument('<schedule>', named)
    .action((name: string) => runSchedule(context, name))
  const pause = sub('pause', 'Keep it no more, until it is resumed.')
    .argument('<schedules...>', 'their names')
    .action((names: string[]) => setEnabled(context, names, false))
  const resume = sub('resume', 'Keep it again.')
    .argument('<schedules...>', 'their names')
    .action((names: string[]) => setEnabled(context, names, true))
  const remove = sub('remove', 'Forget schedules; the snapshots that they took stay.')
    .alias('rm')
    .argument('<schedules...>', 'their names')
    .option('--snapshots', 'the snapshots that they took go too')
    .action((names: string[], { snapshots = false }: { snapshots?: boolean }) =>
      removeSchedules(context, names, snapshots),
    )
  addExamples(command, [['visor schedule list', 'when they come, and how it went']])
  addExamples(list, [['visor schedule list', 'when they come, and how it went']])
  addExamples(create, [
    [
      'visor schedule create nightly web db --daily 03:30 --keep-daily 7 --keep-weekly 4',
      'a week of days, a month of weeks',
    ],
    ['visor schedule create often --all --hourly --keep-within 48h', 'all machines, two days back'],
    ["visor schedule create work web --cron '*/10 8-18 * * 1-5' --keep-last 12", 'every ten minutes at work'],
  ])
  addExamples(show, [['visor schedule show nightly', 'what came of it the last time']])
  addExamples(run, [['visor schedule run nightly', 'before an update']])
  addExamples(pause, [['visor schedule pause nightly', 'until visor schedule resume nightly']])
  addExamples(resume, [['visor schedule resume nightly', 'from its next time on']])
  addExamples(remove, [['visor schedule remove often --snapshots', 'and all that it took']])
}

const ways = ['hourly', 'daily', 'weekly', 'monthly', 'cron'] as const

function when(flags: string, description: string): Option {
  const option = new Option(flags, description)
  return option.conflicts(ways.filter((way) => way !== option.attributeName()))
}

function count(text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0 && value <= 10_000) return value
  throw new InvalidArgumentError('A number from 1 to 10000 is wanted.')
}

function hours(text: string): number {
  const { amount = '', unit = '' } = /^(?<amount>\d{1,6})(?<unit>[hdw])$/u.exec(text)?.groups ?? {}
  const each = { h: 1, d: 24, w: 168 }[unit]
  if (each === undefined || Number(amount) === 0)
    throw new InvalidArgumentError("A time is wanted such as '48h', '30d', '8w'.")
  return Number(amount) * each
}

const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

/** The fields of crontab(5) that the flags mean. */
function cronOf(flags: CreateFlags): string {
  if (flags.cron !== undefined) return flags.cron
  if (flags.hourly) return '0 * * * *'
  const { daily, weekly, monthly } = flags
  if (daily !== undefined) return `${clock(daily === true ? '00:00' : daily, '--daily')} * * *`
  if (weekly !== undefined) {
    const [day = '', time = '00:00'] = weekly === true ? ['Sun'] : weekly.split(/\s+/u)
    const number = days.indexOf(day.slice(0, 3).toLowerCase())
    if (number < 0) throw noTime('--weekly', weekly, "'Mon 03:30'")
    return `${clock(time, '--weekly')} * * ${number}`
  }
  if (monthly !== undefined) {
    const [day = '1', time = '00:00'] = monthly === true ? [] : monthly.split(/\s+/u)
    if (!/^(?:[1-9]|[12]\d|3[01])$/u.test(day)) throw noTime('--monthly', monthly, "'15 03:30'")
    return `${clock(time, '--monthly')} ${day} * *`
  }
  throw new VisorError('invalid-argument', 'When it is done is not said.', {
    remedy: 'Say --hourly, --daily, --weekly, --monthly or --cron.',
  })
}

function clock(text: string, flag: string): string {
  const { hour, minute } = /^(?<hour>[01]?\d|2[0-3]):(?<minute>[0-5]\d)$/u.exec(text)?.groups ?? {}
  if (hour === undefined || minute === undefined) throw noTime(flag, text, "'03:30'")
  return `${Number(minute)} ${Number(hour)}`
}

const noTime = (flag: string, given: string | true, wanted: string) =>
  new VisorError('invalid-argument', `${flag}: '${given}' is no such time.`, {
    remedy: `Write it as ${wanted}.`,
  })

function keepOf(flags: CreateFlags): Retention {
  const given = {
    last: flags.keepLast,
    hourly: flags.keepHourly,
    daily: flags.keepDaily,
    weekly: flags.keepWeekly,
    monthly: flags.keepMonthly,
    yearly: flags.keepYearly,
    withinHours: flags.keepWithin,
  }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

async function createSchedule(
  { connected, output, signal }: Context,
  name: string,
  domains: readonly string[],
  flags: CreateFlags,
): Promise<void> {
  const { timezone, description, memory, quiesce, kind, catchUp, all } = flags
  if ((domains.length === 0) !== (all === true))
    throw new VisorError('invalid-argument', 'Either machines are named, or all of them are meant.', {
      remedy: 'Name machines, or say --all.',
    })
  const definition: ScheduleDefinitionInput = {
    ...{ name, domains: [...domains], cron: cronOf(flags), catchUp, keep: keepOf(flags) },
    snapshot: { ...(memory && { memory }), ...(quiesce && { quiesce }), ...(kind && { kind }) },
    ...(timezone !== undefined && { timezone }),
    ...(description !== undefined && { description }),
  }
  const schedule = await connected(async (connection) => {
    for (const domain of domains) await connection.domains.get(domain)
    return connection.schedules.define({ ...definition, signal })
  })
  output.print(schedule, () => '')
  output.note(
    `${output.noteColours.green('✓')} schedule ${safe(name)}: next ${schedule.nextAt ? localTime(schedule.nextAt) : 'never'}${
      Object.keys(definition.keep ?? {}).length > 0
        ? ''
        : '; nothing of it expires (see --keep-daily and its like)'
    }`,
  )
}

/** As a person of this host reads it. */
function localTime(iso: string): string {
  const at = new Date(iso)
  const two = (value: number) => String(value).padStart(2, '0')
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`
  return `${date} ${two(at.getHours())}:${two(at.getMinutes())}`
}

async function listSchedules({ connected, output }: Context): Promise<void> {
  const schedules = await connected(({ schedules: part }: CompleteConnection) => part.list())
  const { colours, columns } = output
  output.print(schedules, () => {
    if (output.quiet) return schedules.map(({ name }) => `${name}\n`).join('')
    if (schedules.length === 0) output.note("No schedules: 'visor schedule create' makes one.")
    if (schedules.length === 0) return ''
    return formatTable<Schedule>(
      [
        { title: 'name', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 10 },
        { title: 'when', value: ({ definition }) => definition.cron },
        { title: 'machines', value: ({ definition }) => definition.domains.join(' ') || 'all', shrinkTo: 8 },
        { title: 'next', value: ({ nextAt }) => (nextAt === undefined ? 'paused' : localTime(nextAt)) },
        { title: 'last', value: ({ lastRun }) => (lastRun ? formatAgo(lastRun.startedAt) : '') },
        {
          title: 'result',
          value: ({ running, lastRun }) =>
            running ? 'runs now' : lastRun ? (lastRun.ok ? 'ok' : '! failed') : '',
        },
        { title: 'kept', value: ({ kept }) => String(kept), align: 'right' },
      ],
      schedules,
      { width: columns, styleTitle: colours.dim },
    )
  })
}

function keepWords(keep: Retention): string {
  const words = Object.entries(keep).flatMap(([rule, value]) =>
    value === undefined ? [] : rule === 'withinHours' ? `all of ${value} hours` : `${value} ${rule}`,
  )
  return words.join(', ') || 'all'
}

async function showSchedule({ connected, output }: Context, name: string): Promise<void> {
  const schedule = await connected(({ schedules }) => schedules.get(name))
  const { colours } = output
  const { definition, nextAt, lastRun } = schedule
  const { cron, timezone, domains, keep, snapshot } = definition
  output.print(schedule, () =>
    [
      `${colours.bold(safe(name) ?? '')}${schedule.running ? '  runs now' : ''}\n`,
      formatSection(colours, '', [
        ['description', safe(definition.description)],
        ['when', `${cron}${timezone === undefined ? '' : ` (${timezone})`}`],
        ['next', nextAt === undefined ? 'paused' : localTime(nextAt)],
        ['machines', domains.map((one) => safe(one)).join(', ') || 'all'],
        [
          'snapshots',
          `${snapshot.memory ? 'with memory' : 'of disks'}, file systems frozen: ${snapshot.quiesce}`,
        ],
        ['keeps', keepWords(keep)],
        ['kept', String(schedule.kept)],
      ]),
      lastRun ? formatRun(lastRun) : '',
    ].join(''),
  )
}

function formatRun({ startedAt, results }: ScheduleRun): string {
  const lines = results.map(({ domain, snapshot, quiesced, removed, message }) => {
    const made = snapshot === undefined ? '' : ` ${safe(snapshot)}${quiesced ? ', frozen' : ''}`
    const gone = removed.length > 0 ? `, ${removed.length} expired` : ''
    return `  ${safe(domain)}:${made}${gone}${message === undefined ? '' : ` ! ${safe(message)}`}\n`
  })
  return `\nlast done ${formatAgo(startedAt)}\n${lines.join('')}`
}

async function runSchedule({ connected, output, signal }: Context, name: string): Promise<void> {
  const run = await connected(({ schedules }) =>
    withProgress(output, `Doing ${name}`, signal, (call) => schedules.run(name, call)),
  )
  output.print(run, () => formatRun(run).trimStart())
  if (run.ok) return
  throw new VisorError(
    'failed',
    `The schedule '${name}' failed for ${run.results.filter(({ message }) => message !== undefined).length} of ${run.results.length} machines.`,
    {
      remedy: 'What failed, and why, is said above.',
    },
  )
}

async function setEnabled(
  { connected, output, signal }: Context,
  names: readonly string[],
  enabled: boolean,
): Promise<void> {
  await connected(async ({ schedules }) => {
    for (const name of names) {
      const { nextAt } = await schedules.setEnabled(name, { enabled, signal })
      const next = nextAt === undefined ? 'is paused' : `is kept again: next ${localTime(nextAt)}`
      output.note(`${output.noteColours.green('✓')} schedule ${safe(name)} ${next}`)
    }
  })
}

async function removeSchedules(
  { connected, output, signal }: Context,
  names: readonly string[],
  snapshots: boolean,
): Promise<void> {
  await connected(async ({ schedules }) => {
    for (const name of names) {
      await schedules.remove(name, { snapshots, signal })
      output.note(`${output.noteColours.green('✓')} schedule ${safe(name)} is removed`)
    }
  })
}
