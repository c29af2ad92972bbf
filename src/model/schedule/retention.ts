/**
 * Which points in time are kept, and which have expired: the newest of each hour, day, week, month and year, as
 * many of each as was said. The periods are those of a time zone, weeks begin on Monday (ISO 8601).
 */
import * as s from '../schema.ts'

const count = <const D extends string>(doc: D) => s.integer(doc, { optional: true, min: 1, max: 10_000 })

export const Retention = s.object('Retention', 'What is kept; all of it when nothing is said', {
  last: count('the newest so many'),
  hourly: count('the newest of each hour, of so many hours'),
  daily: count('the newest of each day, of so many days'),
  weekly: count('the newest of each week, of so many weeks'),
  monthly: count('the newest of each month, of so many months'),
  yearly: count('the newest of each year, of so many years'),
  withinHours: s.integer('all that is not older than so many hours', {
    optional: true,
    min: 1,
    max: 24 * 366 * 100,
  }),
})
export type Retention = s.Output<typeof Retention>

/** Something that was made at a time. */
export interface PointInTime {
  readonly id: string
  /** ISO 8601. */
  readonly at: string
}

export interface Verdict<P> {
  readonly point: P
  /** Why it is kept: 'daily', 'last', ...; none for one that has expired. */
  readonly reasons: readonly string[]
}

const periods = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const
const dayMs = 24 * 3_600_000

/**
 * Of each point why it is kept, newest first. Without any rule all are kept; the newest is kept always. A time zone
 * that is not known is an error of the caller (RangeError).
 */
export function judgeRetention<P extends PointInTime>(
  points: readonly P[],
  rules: Retention,
  { now, timezone = 'UTC' }: { readonly now: Date; readonly timezone?: string | undefined },
): Verdict<P>[] {
  const sorted = points.toSorted((a, b) => Date.parse(b.at) - Date.parse(a.at))
  const hasRules = Object.values(rules).some((value) => value !== undefined)
  const periodOf = periodsIn(timezone)
  const seen = new Map<string, Set<string>>(periods.map((period) => [period, new Set()]))
  return sorted.map((point, index) => {
    const at = new Date(point.at)
    const reasons: string[] = hasRules ? [] : ['all']
    if (index === 0) reasons.push('newest')
    if (rules.last !== undefined && index < rules.last) reasons.push('last')
    if (rules.withinHours !== undefined && now.getTime() - at.getTime() <= rules.withinHours * 3_600_000)
      reasons.push('within')
    for (const period of periods) {
      const known = seen.get(period)
      const key = periodOf(at)[period]
      if (!known || known.has(key) || known.size >= (rules[period] ?? 0)) continue
      known.add(key)
      reasons.push(period)
    }
    return { point, reasons }
  })
}

/** Those that have expired, newest first. */
export const expiredOf = <P extends PointInTime>(
  points: readonly P[],
  rules: Retention,
  when: { readonly now: Date; readonly timezone?: string | undefined },
): P[] =>
  judgeRetention(points, rules, when).flatMap(({ point, reasons }) => (reasons.length === 0 ? [point] : []))

function periodsIn(timeZone: string) {
  const format = new Intl.DateTimeFormat('en-CA', {
    ...{ timeZone, hourCycle: 'h23', year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit' },
  })
  return (at: Date) => {
    const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]))
    const { year = '', month = '', day = '', hour = '' } = parts
    const days = Date.UTC(Number(year), Number(month) - 1, Number(day)) / dayMs
    return {
      // An hour that comes twice, when clocks are put back, is two.
      hourly: `${year}-${month}-${day}T${hour} ${Math.floor(at.getTime() / 3_600_000)}`,
      daily: `${year}-${month}-${day}`,
      // 1970 began on a Thursday.
      weekly: String(Math.floor((days + 3) / 7)),
      monthly: `${year}-${month}`,
      yearly: year,
    }
  }
}
