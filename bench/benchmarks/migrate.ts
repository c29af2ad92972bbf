import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type ByteStream, silentLog } from '../../src/driver/index.ts'
import { openImages } from '../../src/storage/index.ts'
import type { Benchmark, Contender, Workbench } from '../harness.ts'
import { openVisord, type Visord } from '../ours/visord.ts'
import { type Moved, rawMigration } from '../peers/raw-migration.ts'

const oursName = 'visor, between two visords'
const peerName = 'raw QEMU to raw QEMU'
const rounds = 9
/** Random bytes in the guest's memory, so that there is something to send. */
const filledMiB = 256

/** From the call until the guest runs in the other QEMU and the first one is gone. */
export const migrate: Benchmark = {
  id: 'migrate',
  title: `Migrate a Linux guest with ${filledMiB} MiB of data in memory`,
  unit: 'ms',
  rounds,
  aims: [{ ours: oursName, peer: peerName, kind: 'at-most-times', value: 1.1 }],
  prepare: (bench) => prepare(bench, ({ totalMs }) => totalMs),
}

/** From the stop of its processors until they are let go on. */
export const migrateDowntime: Benchmark = {
  id: 'migrate-downtime',
  title: 'How long that guest stands still',
  unit: 'ms',
  rounds,
  aims: [{ ours: oursName, peer: peerName, kind: 'at-most-more', value: 50 }],
  prepare: (bench) => prepare(bench, ({ downtimeMs }) => downtimeMs),
}

async function prepare(bench: Workbench, value: (moved: Moved) => number): Promise<Contender[]> {
  const hosts = await Promise.all([openVisord(bench, 'one'), openVisord(bench, 'two')])
  const uuid = await bootFilled(bench, hosts[0])
  const { pid } = await hosts[0].connection.domains.get(uuid)
  const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
  const own = join(bench.directory, 'one-')
  const moved = args.map((arg) => arg.replaceAll(own, join(bench.directory, 'raw-')))
  for (const path of moved.flatMap((arg) => arg.split(/[=,:"]/u)))
    if (path.startsWith(join(bench.directory, 'raw-'))) await mkdir(dirname(path), { recursive: true })
  const monitor = /path=([^,]+)/u.exec(args.find((arg) => arg.includes('id=monitor1')) ?? '')?.[1] ?? ''
  const raw = await rawMigration(bench, program, moved, monitor)
  let at = 0
  return [
    { name: peerName, ours: false, sample: async () => value(await raw.move()) },
    {
      name: oursName,
      ours: true,
      async sample() {
        const [from, to] = at++ % 2 === 0 ? hosts : [hosts[1], hosts[0]]
        const started = performance.now()
        const { downtimeMs } = await from.connection.domains.migrate(uuid, {
          to: `unix://${to.socket}`,
          undefineSource: true,
        })
        return value({ totalMs: performance.now() - started, downtimeMs })
      },
    },
  ]
}

/** A guest whose memory is in use. */
async function bootFilled(bench: Workbench, { connection: { domains } }: Visord): Promise<string> {
  const images = openImages({ stateDirectory: bench.directory, log: silentLog })
  const image = await images.build?.('micro', { arch: 'x86_64' })
  const { uuid } = await domains.define({
    ...{ type: 'qemu', name: 'bench', memoryKiB: 768 * 1024 },
    os: {
      ...{ arch: 'x86_64', machine: 'pc' },
      ...{ kernel: image?.kernel, initrd: image?.initrd, commandLine: image?.commandLine },
    },
    devices: { serials: [{}] },
  })
  await domains.start(uuid)
  bench.defer(async () => {
    for (const domain of await domains.list())
      if (domain.state !== 'shutoff') await domains.destroy(domain.uuid)
  })
  const console = await domains.openConsole(uuid, { scrollback: true })
  await heard(console, /:\/root# /u)
  await console.write(
    Buffer.from(
      `mkdir /m; mount -t tmpfs none /m; dd if=/dev/urandom of=/m/data bs=1M count=${filledMiB}; echo fil''led\n`,
    ),
  )
  await heard(console, /filled/u)
  await console.close()
  return uuid
}

async function heard(console: ByteStream, pattern: RegExp): Promise<void> {
  let seen = ''
  for await (const chunk of console) {
    seen += Buffer.from(chunk).toString('latin1')
    if (pattern.test(seen)) return
  }
  throw new Error(`The console ended: ${seen}`)
}
