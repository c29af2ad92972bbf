/** Measuring: contenders take turns, so that what disturbs one disturbs all, and medians stand for them. */

/** One of those compared. */
export interface Contender {
  readonly name: string
  /** Whether it is visor, or a peer. */
  readonly ours: boolean
  /** Does the work once, and tells how long or how large it was, in the benchmark's unit. */
  sample(): Promise<number>
}

/** What ours shall reach. */
export interface Aim {
  readonly ours: string
  /** Name of the peer; none for an amount by itself. */
  readonly peer?: string
  /** `at-most-times`: ours / peer; `faster-times`: peer / ours; `at-most-more`: ours - peer; `at-most`: ours. */
  readonly kind: 'at-most-times' | 'faster-times' | 'at-most-more' | 'at-most'
  readonly value: number
}

export interface Benchmark {
  /** Short name, to select it by. */
  readonly id: string
  readonly title: string
  readonly unit: 'ms' | 'us' | 'MB' | 'kB' | '%'
  /** Fewer samples where each takes long; at least nine of time. */
  readonly rounds?: number
  readonly aims?: readonly Aim[]
  /** Gets everything ready; what has to be put away again is told to `bench`. */
  prepare(bench: Workbench): Promise<readonly Contender[]>
}

/** Where a benchmark works. */
export interface Workbench {
  /** A directory of its own; removed at the end. */
  readonly directory: string
  /** Done at the end, last first, whatever happens. */
  defer(step: () => unknown): void
  /** Tells why a contender is missing. */
  note(text: string): void
}

export interface Row {
  readonly contender: string
  readonly ours: boolean
  readonly median: number
  readonly min: number
  readonly max: number
  readonly samples: number
}

export interface AimResult extends Aim {
  readonly measured: number
  readonly reached: boolean
}

export interface BenchmarkResult {
  readonly id: string
  readonly title: string
  readonly unit: Benchmark['unit']
  readonly rows: readonly Row[]
  readonly aims: readonly AimResult[]
  readonly notes: readonly string[]
}

/** No benchmark goes on for longer. */
const limitMs = 300_000

/**
 * Lets the contenders take turns, after one round that does not count. Each round has an order of its own:
 * who always followed one that leaves work behind would always pay for it.
 */
export async function measure(
  contenders: readonly Contender[],
  rounds: number,
  onRound: (round: number) => void = () => {},
): Promise<Row[]> {
  const samples = new Map<Contender, number[]>(contenders.map((contender) => [contender, []]))
  const deadline = performance.now() + limitMs
  for (let round = 0; round <= rounds; round++) {
    onRound(round)
    for (const contender of shuffle(contenders)) {
      const value = await contender.sample()
      if (round > 0) samples.get(contender)?.push(value)
    }
    if (performance.now() > deadline)
      throw new Error(`It took longer than ${limitMs / 1000} s; ${round} rounds were done.`)
  }
  return [...samples].map(([{ name, ours }, values]) => ({ contender: name, ours, ...spread(values) }))
}

function shuffle<T>(values: readonly T[]): T[] {
  const order = values.map((value) => ({ value, place: Math.random() }))
  return order.sort((a, b) => a.place - b.place).map(({ value }) => value)
}

/** Median and ends of some values; the median of an even number is the mean of the middle two. */
export function spread(values: readonly number[]): Pick<Row, 'median' | 'min' | 'max' | 'samples'> {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (index: number) => sorted[index] ?? Number.NaN
  const middle = sorted.length / 2
  const median = sorted.length % 2 === 1 ? at(Math.floor(middle)) : (at(middle - 1) + at(middle)) / 2
  return { median, min: at(0), max: at(sorted.length - 1), samples: sorted.length }
}

/** How ours stands to its aims; an aim whose peer is not there is left out. */
export function judge(aims: readonly Aim[], rows: readonly Row[]): AimResult[] {
  const median = (name: string) => rows.find(({ contender }) => contender === name)?.median
  return aims.flatMap((aim) => {
    const ours = median(aim.ours)
    const peer = aim.peer === undefined ? 0 : median(aim.peer)
    if (ours === undefined || peer === undefined) return []
    const measured = {
      'at-most-times': ours / peer,
      'faster-times': peer / ours,
      'at-most-more': ours - peer,
      'at-most': ours,
    }[aim.kind]
    return [
      {
        ...aim,
        measured,
        reached: aim.kind === 'faster-times' ? measured >= aim.value : measured <= aim.value,
      },
    ]
  })
}

/** How long `work` takes, in milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return performance.now() - started
}

/** How long one of `count` calls in a row takes, in microseconds. */
export async function timedEach(count: number, work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  for (let call = 0; call < count; call++) await work()
  return ((performance.now() - started) * 1000) / count
}
