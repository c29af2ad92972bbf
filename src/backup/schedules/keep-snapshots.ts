/** Takes the snapshots of a schedule and removes those that have expired. */
import type { Connection, Store } from '../../driver/index.ts'
import {
  type Domain,
  expiredOf,
  type ScheduleDefinition,
  type ScheduleResult,
  toVisorError,
  VisorError,
} from '../../model/index.ts'

type Machines = Pick<Connection, 'domains' | 'snapshots'>

/** What a schedule has taken, by domain: on record before it is taken. */
export interface TakenSnapshots {
  of(schedule: string): Promise<readonly Taken[]>
  add(taken: Taken): Promise<void>
  drop(taken: Taken): Promise<void>
}

export interface Taken {
  readonly schedule: string
  readonly domain: string
  readonly snapshot: string
  /** When, ISO 8601. */
  readonly at: string
}

const prefix = 'schedule/taken/'
const keyOf = ({ schedule, domain, snapshot }: Taken) => `${prefix}${schedule}/${domain}/${snapshot}`

export function takenSnapshots(store: Store): TakenSnapshots {
  return {
    async of(schedule) {
      return (await store.list(`${prefix}${schedule}/`)).map(({ value }) => value as Taken)
    },
    add: (taken) => store.write([{ key: keyOf(taken), value: taken }]),
    drop: (taken) => store.write([{ key: keyOf(taken), value: undefined }]),
  }
}

export interface KeepOptions {
  readonly machines: Machines
  readonly taken: TakenSnapshots
  readonly definition: ScheduleDefinition
  readonly now: Date
  readonly signal: AbortSignal
}

/** Does it to one domain; what fails is told in the result, and hinders no other domain. */
export async function keepSnapshots(
  { uuid, name, state }: Domain,
  options: KeepOptions,
): Promise<ScheduleResult> {
  const result: { -readonly [K in keyof ScheduleResult]: ScheduleResult[K] } = {
    domain: name,
    uuid,
    removed: [],
  }
  try {
    const { snapshot, quiesced } = await take(uuid, state === 'running', options)
    result.snapshot = snapshot
    result.quiesced = quiesced
    // Only after a new one is there: a schedule that fails loses nothing.
    await removeExpired(uuid, options, result.removed)
  } catch (error) {
    const { message, remedy } = toVisorError(error)
    result.message = remedy === undefined ? message : `${message} ${remedy}`
  }
  return result
}

async function take(
  domain: string,
  isRunning: boolean,
  { machines, taken, definition, now, signal }: KeepOptions,
): Promise<{ snapshot: string; quiesced: boolean }> {
  const { snapshots } = machines
  const create = snapshots?.create
  if (!create)
    throw new VisorError('unsupported', 'Snapshots of this domain cannot be taken.', {
      remedy: 'Take it out of the schedule.',
    })
  const { name: schedule, snapshot: how } = definition
  const { memory, kind, quiesce } = how
  const snapshot = `${schedule}-${now.toISOString().replace(/[-:]|\.\d+/gu, '')}`
  const made = { schedule, domain, snapshot, at: now.toISOString() }
  await taken.add(made)
  const whole = memory || !isRunning
  const options = {
    name: snapshot,
    description: `taken by the schedule ${schedule}`,
    diskOnly: !whole,
    ...(kind && { kind }),
    signal,
  }
  const attempt = async (quiesced: boolean) => {
    await create.call(snapshots, domain, { ...options, ...(quiesced && { quiesce: true }) })
    return { snapshot, quiesced }
  }
  try {
    if (whole || quiesce === 'never') return await attempt(false)
    return await attempt(true).catch((error: unknown) => {
      const { code } = toVisorError(error)
      if (quiesce === 'auto' && noAgent.includes(code)) return attempt(false)
      throw error
    })
  } catch (error) {
    const there = await snapshots.list(domain).catch(() => undefined)
    if (there && !there.some(({ name }) => name === snapshot)) await taken.drop(made)
    throw error
  }
}

/** What is said when no agent answers. */
const noAgent = ['unavailable', 'unsupported', 'unsupported-config', 'invalid-state', 'timeout']

async function removeExpired(
  domain: string,
  { machines, taken, definition, now, signal }: KeepOptions,
  removed: string[],
): Promise<void> {
  const { snapshots } = machines
  const { keep, timezone } = definition
  const there = new Set((await snapshots?.list(domain))?.map(({ name }) => name))
  const ours: { id: string; at: string; one: Taken }[] = []
  for (const one of (await taken.of(definition.name)).filter((each) => each.domain === domain)) {
    // Somebody removed it, or it was never made.
    if (!there.has(one.snapshot)) await taken.drop(one)
    else ours.push({ id: one.snapshot, at: one.at, one })
  }
  // The oldest first: what it keeps goes into the next, which is kept.
  for (const { id, one } of expiredOf(ours, keep, { now, timezone }).toReversed()) {
    await snapshots?.remove?.(domain, id, { signal })
    await taken.drop(one)
    removed.push(id)
  }
}

/** Removes all that a schedule has taken, of domains that are there. */
export async function removeTaken(
  schedule: string,
  { machines, taken, signal }: Pick<KeepOptions, 'machines' | 'taken' | 'signal'>,
): Promise<void> {
  const { domains, snapshots } = machines
  const known = new Set((await domains.list()).map(({ uuid }) => uuid))
  for (const one of (await taken.of(schedule)).toReversed()) {
    const there = known.has(one.domain) ? await snapshots?.list(one.domain) : undefined
    if (there?.some(({ name }) => name === one.snapshot))
      await snapshots?.remove?.(one.domain, one.snapshot, { signal })
    await taken.drop(one)
  }
}
