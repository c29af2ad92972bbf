/**
 * npm run bench: ours beside its peers, measured in turns in the same run.
 *
 *   npm run bench                        everything
 *   npm run bench -- start destroy       only these
 *   npm run bench -- --json --rounds 15  results as JSON, with other numbers of samples
 */
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { clone } from './benchmarks/clone.ts'
import { define } from './benchmarks/define.ts'
import { destroy } from './benchmarks/destroy.ts'
import { fleet, guestMemory, statsLoad } from './benchmarks/fleet.ts'
import { hotplugs } from './benchmarks/hotplug.ts'
import { list } from './benchmarks/list.ts'
import { memory } from './benchmarks/memory.ts'
import { migrate, migrateDowntime } from './benchmarks/migrate.ts'
import { networkPorts, networkStart, networkThroughput } from './benchmarks/networks.ts'
import { ready } from './benchmarks/ready.ts'
import { rest } from './benchmarks/rest.ts'
import { start } from './benchmarks/start.ts'
import { stats } from './benchmarks/stats.ts'
import { volumeDownload, volumeMemory, volumeUpload } from './benchmarks/volume-streams.ts'
import { volumeClone, volumeList } from './benchmarks/volumes.ts'
import { type Benchmark, type BenchmarkResult, judge, measure } from './harness.ts'
import { formatResult } from './table.ts'
import { atWorkbench } from './workbench.ts'

const benchmarks: readonly Benchmark[] = [
  start,
  clone,
  destroy,
  define,
  ...hotplugs,
  list,
  stats,
  rest,
  ready,
  volumeClone,
  volumeList,
  volumeUpload,
  volumeDownload,
  volumeMemory,
  memory,
  fleet,
  statsLoad,
  guestMemory,
  migrate,
  migrateDowntime,
  networkStart,
  networkPorts,
  networkThroughput,
]
const defaultRounds = 11

async function runBenchmark(benchmark: Benchmark, rounds: number | undefined): Promise<BenchmarkResult> {
  const { id, title, unit, aims = [] } = benchmark
  const progress = (text: string) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
  }
  const { result: rows, notes } = await atWorkbench(async (bench) => {
    progress(`${id}: getting ready ...`)
    const contenders = await benchmark.prepare(bench)
    const wanted = rounds ?? benchmark.rounds ?? defaultRounds
    return measure(contenders, wanted, (round) => progress(`${id}: ${round} of ${wanted}`))
  })
  progress('')
  return { id, title, unit, rows, aims: judge(aims, rows), notes }
}

function readArguments() {
  const { values, positionals } = parseArgs({
    options: { json: { type: 'boolean' }, rounds: { type: 'string' }, help: { type: 'boolean' } },
    allowPositionals: true,
  })
  const unknown = positionals.find((id) => !benchmarks.some((benchmark) => benchmark.id === id))
  const known = benchmarks.map(({ id }) => id).join(', ')
  if (unknown) throw new Error(`There is no benchmark '${unknown}'. There are: ${known}.`)
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds)
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0 && rounds <= 1000))
    throw new Error('--rounds takes a whole number from 1 to 1000.')
  return {
    ...values,
    rounds,
    known,
    selected: benchmarks.filter(({ id }) => positionals.length === 0 || positionals.includes(id)),
  }
}

async function main(): Promise<void> {
  const { json, help, rounds, known, selected } = readArguments()
  if (help) return console.log(`npm run bench -- [--json] [--rounds N] [NAME ...]\n\nNames: ${known}`)
  const host = { cpus: cpus().length, cpuModel: cpus()[0]?.model ?? '', node: process.version }
  if (!json) console.log(`${host.cpuModel}, ${host.cpus} processors, Node ${host.node}\n`)
  const results: BenchmarkResult[] = []
  for (const benchmark of selected) {
    try {
      const result = await runBenchmark(benchmark, rounds)
      results.push(result)
      if (!json) console.log(`${formatResult(result)}\n`)
    } catch (error) {
      process.exitCode = 1
      console.error(
        `${benchmark.id} could not be measured: ${error instanceof Error ? error.message : error}\n`,
      )
    }
  }
  if (json) console.log(JSON.stringify({ host, results }, undefined, 2))
}

try {
  await main()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 2
}
