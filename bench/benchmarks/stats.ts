import type { CompleteConnection } from '../../src/index.ts'
import { type Benchmark, timed } from '../harness.ts'
import { openMany } from '../many.ts'
import { libraryName, libvirtName, restName } from '../runners.ts'

/** Of defined domains that do not run: what the front doors and the tables cost, without a hypervisor. */
export const stats: Benchmark = {
  id: 'stats',
  title: 'Statistics of 1,000 defined domains',
  unit: 'ms',
  rounds: 15,
  async prepare(bench) {
    const { library, rest, libvirt } = await openMany(bench)
    return [
      { name: libraryName, ours: true, sample: await sampleStats(library) },
      { name: restName, ours: true, sample: await sampleStats(rest) },
      ...(libvirt ? [{ name: libvirtName, ours: false, sample: () => libvirt.call({ op: 'stats' }) }] : []),
    ]
  },
}

/** A request line has its limits, so they are named in two halves. */
async function sampleStats({ domains }: CompleteConnection): Promise<() => Promise<number>> {
  const names = (await domains.list()).map(({ name }) => name)
  const halves = [names.slice(0, names.length / 2), names.slice(names.length / 2)]
  return () =>
    timed(async () => {
      for (const half of halves) await domains.stats({ domains: half })
    })
}
