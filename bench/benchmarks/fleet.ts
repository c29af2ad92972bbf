import { setTimeout as sleep } from 'node:timers/promises'
import { openFleet, startMore } from '../fleet.ts'
import { type Benchmark, timed } from '../harness.ts'
import type { Visord } from '../ours/visord.ts'
import { cpuSeconds, residentMegabytes } from '../processes.ts'

const count = 50
const list = `list of ${count}, visord over REST`
const stats = `stats of ${count}, visord over REST`
const event = `suspend to its event among ${count}, visord over REST`

/** What the front door answers while many machines run. */
export const fleet: Benchmark = {
  id: 'fleet',
  title: `${count} machines that run`,
  unit: 'ms',
  aims: [list, stats, event].map((ours) => ({ ours, kind: 'at-most', value: 50 }) as const),
  async prepare(bench) {
    const visord = await openFleet(bench, count)
    const { domains } = visord.connection
    return [
      { name: list, ours: true, sample: () => timed(() => domains.list()) },
      { name: stats, ours: true, sample: () => timed(() => domains.stats()) },
      { name: event, ours: true, sample: () => timed(() => suspendAndHear(visord)) },
    ]
  },
}

/** Until a listener has heard of it. */
async function suspendAndHear({ connection }: Visord): Promise<void> {
  const { domains } = connection
  const [first] = await domains.list({ states: ['running'] })
  if (!first) throw new Error('Nothing runs.')
  const ended = new AbortController()
  const heard = (async () => {
    for await (const { type, uuid } of connection.events({ signal: ended.signal }))
      if (uuid === first.uuid && type === 'suspended') return
  })()
  await domains.suspend(first.uuid)
  await heard
  ended.abort()
  await domains.resume(first.uuid)
}

const many = 100
const seconds = 10
const load = `visord, statistics of ${many} at 1 Hz`

/** Processor time of visord while a client reads all statistics once in a second. */
export const statsLoad: Benchmark = {
  id: 'stats-load',
  title: `Load by statistics of ${many} machines that run`,
  unit: '%',
  rounds: 3,
  aims: [{ ours: load, kind: 'at-most', value: 3 }],
  async prepare(bench) {
    const { connection, pid } = await openFleet(bench, many)
    return [
      {
        name: load,
        ours: true,
        async sample() {
          const before = cpuSeconds(pid)
          for (let second = 0; second < seconds; second++) {
            const next = sleep(1000)
            await connection.domains.stats()
            await next
          }
          return ((cpuSeconds(pid) - before) / seconds) * 100
        },
      },
    ]
  },
}

const each = `visord, for each of ${count} machines that run`

/** What a running machine costs the daemon. */
export const guestMemory: Benchmark = {
  id: 'guest-memory',
  title: 'Memory of the daemon for a machine that runs',
  unit: 'kB',
  rounds: 1,
  aims: [{ ours: each, kind: 'at-most', value: 300 }],
  async prepare(bench) {
    const { connection, pid } = await openFleet(bench, 5)
    await settle()
    const before = residentMegabytes(pid)
    await startMore(bench, connection, count)
    return [
      {
        name: each,
        ours: true,
        async sample() {
          await connection.domains.stats()
          await settle()
          return ((residentMegabytes(pid) - before) * 1000) / count
        },
      },
    ]
  },
}

/** After work, visord gives memory back when nothing was asked for a second. */
const settle = () => sleep(4_000)
