import { setTimeout as sleep } from 'node:timers/promises'
import type { Benchmark } from '../harness.ts'
import { defineMany, defineManyInLibvirt, manyCount } from '../many.ts'
import { openVisord, type Visord } from '../ours/visord.ts'
import { openLibvirt } from '../peers/libvirt.ts'
import { residentMegabytes } from '../processes.ts'

const count = manyCount.toLocaleString('en')
const afterBurst = `visord, after ${count} defines`
const withMany = `visord, started with ${count} domains`

/** After work, visord gives memory back when nothing was asked for a second. */
const quietMs = 3_000

/** Resident set, file pages that others share included. */
export const memory: Benchmark = {
  id: 'memory',
  title: 'Memory of the daemon',
  unit: 'MB',
  rounds: 3,
  aims: [
    { ours: withMany, kind: 'at-most', value: 100 },
    { ours: afterBurst, kind: 'at-most', value: 100 },
  ],
  async prepare(bench) {
    const idle = await openVisord(bench, 'idle')
    const burst = await openVisord(bench, 'burst')
    await defineMany(bench, burst.connection)
    const many = await openVisord(bench, 'many')
    await defineMany(bench, many.connection)
    await many.stop()
    const again = await openVisord(bench, 'many')
    const libvirt = await openLibvirt(bench)
    if (libvirt) await defineManyInLibvirt(bench, libvirt)
    await sleep(quietMs)
    return [
      { name: 'visord, idle', ours: true, sample: async () => residentMegabytes(idle.pid) },
      { name: withMany, ours: true, sample: () => listAndLook(again) },
      { name: afterBurst, ours: true, sample: () => listAndLook(burst) },
      ...(libvirt
        ? [
            {
              name: `libvirtd, after ${count} defines`,
              ours: false,
              sample: () => libvirt.call({ op: 'memory' }),
            },
          ]
        : []),
    ]
  },
}

async function listAndLook({ connection, pid }: Visord): Promise<number> {
  await connection.domains.list()
  await sleep(quietMs)
  return residentMegabytes(pid)
}
