import type { Benchmark } from '../harness.ts'
import { defineMany, defineManyInLibvirt, manyCount } from '../many.ts'
import { openVisord } from '../ours/visord.ts'
import { openLibvirt } from '../peers/libvirt.ts'
import { residentMegabytes } from '../processes.ts'

const withMany = `visord, ${manyCount.toLocaleString('en')} domains`

/** Resident set, file pages that others share included. */
export const memory: Benchmark = {
  id: 'memory',
  title: 'Memory of the daemon',
  unit: 'MB',
  rounds: 3,
  aims: [{ ours: withMany, kind: 'at-most', value: 100 }],
  async prepare(bench) {
    const idle = await openVisord(bench, 'idle')
    const many = await openVisord(bench, 'many')
    await defineMany(bench, many.connection)
    const libvirt = await openLibvirt(bench)
    if (libvirt) await defineManyInLibvirt(bench, libvirt)
    return [
      { name: 'visord, idle', ours: true, sample: async () => residentMegabytes(idle.pid) },
      {
        name: withMany,
        ours: true,
        async sample() {
          await many.connection.domains.list()
          return residentMegabytes(many.pid)
        },
      },
      ...(libvirt
        ? [
            {
              name: `libvirtd, ${manyCount.toLocaleString('en')} domains`,
              ours: false,
              sample: () => libvirt.call({ op: 'memory' }),
            },
          ]
        : []),
    ]
  },
}
