/** Puts the threads of a machine where its definition wants them, before the guest runs. */
import { pinThread, type SchedulingPolicy, scheduleThread, threadsOf } from '../../../../host/index.ts'
import { parseCpuSet } from '../../../../model/index.ts'
import type { CompleteDefinition } from '../../definition/definition.ts'
import { isRecord, type QmpClient } from '../../qmp/index.ts'

/** Pins and schedules processors, I/O threads and the rest; resolves when all of it is done. */
export async function placeThreads(
  { vcpuCpuset, cputune }: CompleteDefinition,
  pid: number,
  monitor: QmpClient,
): Promise<void> {
  if (vcpuCpuset === undefined && cputune === undefined) return
  const { processors, threads } = await namedThreads(monitor)
  const named = new Set([...processors.values(), ...threads.values()])
  const emulator = cputune?.emulatorPin ?? vcpuCpuset
  if (emulator !== undefined)
    for (const tid of await threadsOf(pid)) if (!named.has(tid)) await pinThread(tid, parseCpuSet(emulator))
  for (const [index, tid] of processors) {
    const set = processorSet({ vcpuCpuset, cputune }, Number(index))
    if (set !== undefined) await pinThread(tid, parseCpuSet(set))
  }
  for (const [id, tid] of threads) {
    const set = cputune?.iothreadPins.find(({ iothread }) => iothread === Number(id))?.cpuset ?? emulator
    if (set !== undefined) await pinThread(tid, parseCpuSet(set))
  }
  await schedule(cputune, pid, processors, threads)
}

function processorSet({ vcpuCpuset, cputune }: Placed, index: number): string | undefined {
  return cputune?.vcpuPins.find(({ vcpu }) => vcpu === index)?.cpuset ?? vcpuCpuset
}

type Placed = Pick<CompleteDefinition, 'vcpuCpuset' | 'cputune'>

/**
 * Puts processors that came later where the definition wants them. They are made by the thread of the emulator, and
 * begin where that is: one that is pinned nowhere may run everywhere.
 */
export async function placeProcessors(
  definition: Placed,
  monitor: QmpClient,
  isNew: (index: number) => boolean,
): Promise<void> {
  const { vcpuCpuset, cputune } = definition
  if (vcpuCpuset === undefined && cputune === undefined) return
  const everywhere =
    cputune?.emulatorPin === undefined ? undefined : Array.from({ length: 1024 }, (_, cpu) => cpu)
  const all = await threadIds(monitor, 'query-cpus-fast', ({ 'cpu-index': index }) => String(index))
  const added = new Map([...all].filter(([index]) => isNew(Number(index))))
  for (const [index, tid] of added) {
    const set = processorSet(definition, Number(index))
    const cpus = set === undefined ? everywhere : parseCpuSet(set)
    if (cpus) await pinThread(tid, cpus)
    const isScheduled = cputune?.vcpuSchedulers.some(({ vcpus }) =>
      parseCpuSet(vcpus).includes(Number(index)),
    )
    if (cputune?.emulatorScheduler && !isScheduled) await scheduleThread(tid, 'other')
  }
  await scheduleAll(cputune?.vcpuSchedulers.map(({ vcpus, ...one }) => ({ ...one, set: vcpus })) ?? [], added)
}

interface Scheduled {
  readonly set: string
  readonly scheduler: SchedulingPolicy
  readonly priority?: number | undefined
}

async function scheduleAll(wanted: readonly Scheduled[], ids: ReadonlyMap<string, number>): Promise<void> {
  for (const { set, scheduler, priority } of wanted)
    for (const one of parseCpuSet(set)) {
      const tid = ids.get(String(one))
      if (tid !== undefined) await scheduleThread(tid, scheduler, priority)
    }
}

async function schedule(
  cputune: CompleteDefinition['cputune'],
  pid: number,
  processors: ReadonlyMap<string, number>,
  threads: ReadonlyMap<string, number>,
): Promise<void> {
  const { vcpuSchedulers = [], iothreadSchedulers = [] } = cputune ?? {}
  await scheduleAll(
    vcpuSchedulers.map(({ vcpus, ...one }) => ({ ...one, set: vcpus })),
    processors,
  )
  await scheduleAll(
    iothreadSchedulers.map(({ iothreads, ...one }) => ({ ...one, set: iothreads })),
    threads,
  )
  if (cputune?.emulatorScheduler)
    await scheduleThread(pid, cputune.emulatorScheduler, cputune.emulatorPriority)
}

/** Threads of processors by their numbers, and I/O threads by theirs. */
export async function namedThreads(monitor: QmpClient) {
  const [processors, threads] = await Promise.all([
    threadIds(monitor, 'query-cpus-fast', ({ 'cpu-index': index }) => String(index)),
    threadIds(monitor, 'query-iothreads', ({ id }) => String(id).replace(/^iothread/u, '')),
  ])
  return { processors, threads }
}

async function threadIds(
  monitor: QmpClient,
  command: string,
  nameOf: (entry: Record<string, unknown>) => string,
): Promise<Map<string, number>> {
  const answer = await monitor.execute(command)
  const entries = Array.isArray(answer) ? answer.filter(isRecord) : []
  return new Map(entries.map((entry) => [nameOf(entry), Number(entry['thread-id'])]))
}

/** Plugs in the processors that the definition has at the start, but that can be unplugged, in their order. */
export async function plugProcessors({ vcpuStates }: CompleteDefinition, monitor: QmpClient): Promise<void> {
  const wanted = vcpuStates
    .filter(({ enabled, hotpluggable }) => enabled && hotpluggable)
    .sort((a, b) => (a.order ?? a.id + 1) - (b.order ?? b.id + 1))
  if (wanted.length === 0) return
  const answer = await monitor.execute('query-hotpluggable-cpus')
  // Told from the last to the first.
  const places = (Array.isArray(answer) ? answer.filter(isRecord) : []).reverse()
  for (const { id } of wanted) {
    const { type, props } = places[id] ?? {}
    await monitor.execute('device_add', {
      driver: type,
      id: `vcpu${id}`,
      ...(isRecord(props) ? props : {}),
    })
  }
}
