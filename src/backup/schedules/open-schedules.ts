/** Schedules of this host: kept in the store, and done when their time comes. */
import type { Connection, HostSchedules, Log, Schedules, Store } from '../../driver/index.ts'
import { eventHub } from '../../driver/index.ts'
import {
  type Domain,
  notFound,
  parse,
  type Schedule,
  ScheduleDefinition,
  type ScheduleResult,
  type ScheduleRun,
  VisorError,
} from '../../model/index.ts'
import { type Calendar, readCalendar } from './calendar.ts'
import { keepSnapshots, removeTaken, takenSnapshots } from './keep-snapshots.ts'

export interface OpenSchedulesOptions {
  readonly store: Store
  readonly log: Log
  /** What time it is. */
  readonly now?: () => Date
}

interface Kept {
  readonly definition: ScheduleDefinition
  /** All times up to this one were looked after. */
  readonly doneUntil: string
  readonly lastRun?: ScheduleRun | undefined
}

interface Live extends Kept {
  readonly calendar: Calendar
}

const prefix = 'schedule/definition/'
/** Clocks are set, and hosts sleep: it is looked again at least this often. */
const longestSleepMs = 60_000

export async function openSchedules({
  store,
  log,
  now = () => new Date(),
}: OpenSchedulesOptions): Promise<HostSchedules> {
  const hub = eventHub()
  const taken = takenSnapshots(store)
  const live = new Map<string, Live>()
  const running = new Map<string, Promise<ScheduleRun>>()
  const closing = new AbortController()
  let machines: Pick<Connection, 'domains' | 'snapshots'> | undefined
  let timer: NodeJS.Timeout | undefined

  for (const { value } of await store.list(prefix)) {
    const kept = value as Kept
    live.set(kept.definition.name, { ...kept, calendar: calendarOf(kept.definition) })
  }

  /** A time zone may be gone with an update of the host: that one is not kept, all others are. */
  function calendarOf(definition: ScheduleDefinition): Calendar {
    try {
      return readCalendar(definition, now())
    } catch (error) {
      log.warn({ schedule: definition.name, error }, 'The time of a schedule is not known any more.')
      return { next: () => undefined }
    }
  }

  async function put({ definition, doneUntil, lastRun, calendar }: Live): Promise<void> {
    const kept: Kept = { definition, doneUntil, lastRun }
    await store.write([{ key: prefix + definition.name, value: kept }])
    live.set(definition.name, { ...kept, calendar })
  }

  function find(name: string): Live {
    const found = live.get(name)
    if (!found) throw notFound('schedule', name)
    return found
  }

  async function observe({ definition, calendar, lastRun }: Live): Promise<Schedule> {
    const next = definition.enabled ? calendar.next(now()) : undefined
    return {
      name: definition.name,
      definition,
      running: running.has(definition.name),
      ...(next && { nextAt: next.toISOString() }),
      ...(lastRun && { lastRun }),
      kept: (await taken.of(definition.name)).length,
    }
  }

  const tell = (type: string, name: string, data?: ScheduleRun) =>
    hub.emit({ kind: 'schedule', type, name, ...(data && { data }) })

  function ready(): NonNullable<typeof machines> {
    if (machines) return machines
    throw new VisorError('invalid-state', 'Schedules are kept by visord, which is not up yet.')
  }

  /** Fails with `busy` while it is done. */
  function run(name: string, signal: AbortSignal): Promise<ScheduleRun> {
    if (running.has(name))
      throw new VisorError('busy', `The schedule '${name}' is done just now.`, {
        object: { kind: 'schedule', name },
        remedy: `See how far it is: visor schedule show ${name}.`,
      })
    const work = perform(find(name), signal).finally(() => running.delete(name))
    running.set(name, work)
    return work
  }

  async function perform(one: Live, signal: AbortSignal): Promise<ScheduleRun> {
    const { definition } = one
    const { name } = definition
    const startedAt = now()
    await put({ ...one, doneUntil: startedAt.toISOString() })
    tell('started', name)
    const results: ScheduleResult[] = []
    for (const domain of await domainsOf(definition, results)) {
      if (signal.aborted) {
        results.push({ domain: domain.name, uuid: domain.uuid, removed: [], message: 'It was given up.' })
        continue
      }
      results.push(await keepSnapshots(domain, { machines: ready(), taken, definition, now: now(), signal }))
    }
    const ok = results.every(({ message }) => message === undefined)
    const lastRun = { startedAt: startedAt.toISOString(), endedAt: now().toISOString(), ok, results }
    for (const { domain, message } of results)
      if (message !== undefined) log.warn({ schedule: name, domain }, `A schedule failed: ${message}`)
    const after = live.get(name)
    if (after) await put({ ...after, lastRun })
    tell(ok ? 'succeeded' : 'failed', name, lastRun)
    return lastRun
  }

  /** The domains that it is of; those that are not there are told of. */
  async function domainsOf(
    { name, domains: wanted }: ScheduleDefinition,
    results: ScheduleResult[],
  ): Promise<Domain[]> {
    const all = await ready().domains.list()
    const known = new Set(all.map(({ uuid }) => uuid))
    for (const one of await taken.of(name)) if (!known.has(one.domain)) await taken.drop(one)
    if (wanted.length === 0) return all
    return wanted.flatMap((key) => {
      const found = all.find(({ uuid, name }) => uuid === key || name === key)
      if (!found) results.push({ domain: key, removed: [], message: `There is no domain '${key}'.` })
      return found ? [found] : []
    })
  }

  /** The time of a schedule that has passed, and that nobody looked after; of several, one is enough. */
  function isDue({ definition, calendar, doneUntil }: Live, at: Date): boolean {
    const next = calendar.next(new Date(doneUntil))
    return definition.enabled && next !== undefined && next <= at
  }

  function look(): void {
    clearTimeout(timer)
    if (closing.signal.aborted) return
    const at = now()
    for (const one of live.values()) {
      const { name } = one.definition
      if (!isDue(one, at) || running.has(name)) continue
      run(name, closing.signal).then(look, (error: unknown) => {
        log.error({ schedule: name, error: String(error) }, 'A schedule could not be kept.')
      })
    }
    const nexts = [...live.values()].flatMap(({ definition, calendar }) =>
      definition.enabled ? (calendar.next(at)?.getTime() ?? []) : [],
    )
    const soonest = Math.min(...nexts, at.getTime() + longestSleepMs)
    timer = setTimeout(look, Math.max(soonest - at.getTime(), 1))
    timer.unref()
  }

  const byName = (a: Schedule, b: Schedule) => (a.name < b.name ? -1 : 1)
  const schedules: Schedules = {
    list: async () => (await Promise.all([...live.values()].map(observe))).sort(byName),
    get: async (name) => observe(find(name)),
    async define({ signal: _, progress: __, onJob: ___, ...given }) {
      const definition = parse(ScheduleDefinition, given)
      const calendar = readCalendar(definition, now())
      const before = live.get(definition.name)
      await put({ definition, calendar, doneUntil: now().toISOString(), lastRun: before?.lastRun })
      tell(before ? 'changed' : 'defined', definition.name)
      look()
      return observe(find(definition.name))
    },
    async setEnabled(name, { enabled }) {
      const one = find(name)
      await put({ ...one, definition: { ...one.definition, enabled }, doneUntil: now().toISOString() })
      tell('changed', name)
      look()
      return observe(find(name))
    },
    run: async (name, { signal } = {}) =>
      run(name, AbortSignal.any([closing.signal, ...(signal ? [signal] : [])])),
    async remove(name, { snapshots = false, signal = closing.signal } = {}) {
      const one = find(name)
      await running.get(name)
      if (snapshots) await removeTaken(name, { machines: ready(), taken, signal })
      const left = await taken.of(name)
      await store.write([{ key: prefix + one.definition.name, value: undefined }])
      live.delete(name)
      for (const each of left) await taken.drop(each)
      tell('undefined', name)
      look()
    },
  }

  return {
    schedules,
    events: (options) => hub.listen(options),
    begin(connection) {
      machines = connection
      const at = now().toISOString()
      for (const [name, one] of live) if (!one.definition.catchUp) live.set(name, { ...one, doneUntil: at })
      look()
    },
    async close() {
      closing.abort()
      clearTimeout(timer)
      await Promise.allSettled(running.values())
      hub.close()
    },
  }
}
