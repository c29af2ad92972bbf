/** When schedules come: crontab(5), in a time zone. */
import { Cron } from 'croner'
import { VisorError } from '../../model/index.ts'

export interface Calendar {
  /** The first time after this; undefined when there is none. */
  next(after: Date): Date | undefined
}

/** Fails with `invalid-definition` for what is no expression, no time zone, or never comes. */
export function readCalendar(
  { cron, timezone }: { readonly cron: string; readonly timezone?: string | undefined },
  now: Date,
): Calendar {
  const refuse = (path: string, message: string, remedy: string, cause?: unknown) =>
    new VisorError('invalid-definition', message, { path, remedy, cause })
  if (!cron.trim().startsWith('@') && cron.trim().split(/\s+/u).length !== 5)
    throw refuse(
      'cron',
      `'${cron}' has not the five fields of crontab: minute, hour, day of the month, month, day of the week.`,
      "Every night at half past three is '30 3 * * *'.",
    )
  if (timezone !== undefined && !isTimezone(timezone))
    throw refuse(
      'timezone',
      `There is no time zone '${timezone}'.`,
      "Write it as in 'timedatectl list-timezones'.",
    )
  let pattern: Cron
  try {
    pattern = new Cron(cron, { paused: true, ...(timezone !== undefined && { timezone }) })
  } catch (cause) {
    throw refuse(
      'cron',
      `'${cron}' is no time: ${cause instanceof Error ? cause.message : String(cause)}.`,
      "Every night at half past three is '30 3 * * *'.",
      cause,
    )
  }
  const calendar = { next: (after: Date) => pattern.nextRun(after) ?? undefined }
  if (!calendar.next(now))
    throw refuse('cron', `'${cron}' never comes.`, 'Look at its day and month: no 30th of February comes.')
  return calendar
}

function isTimezone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}
