import type { CompleteConnection } from '../../src/index.ts'
import { type Benchmark, timed } from '../harness.ts'
import { manyCount, openMany } from '../many.ts'
import { libraryName, libvirtName, restName } from '../runners.ts'

/** As many uuids as a request line holds. */
const restAtOnce = 250

/** Of defined domains that do not run: what the front doors and the tables cost, without a hypervisor. */
export const stats: Benchmark = {
  id: 'stats',
  title: 'Statistics of 1,000 defined domains',
  unit: 'ms',
  rounds: 15,
  async prepare(bench) {
    const { library, rest, libvirt } = await openMany(bench)
    return [
      { name: libraryName, ours: true, sample: await sampleStats(library, manyCount) },
      { name: restName, ours: true, sample: await sampleStats(rest, restAtOnce) },
      ...(libvirt ? [{ name: libvirtName, ours: false, sample: () => libvirt.call({ op: 'stats' }) }] : []),
    ]
  },
}

async function sampleStats({ domains }: CompleteConnection, atOnce: number): Promise<() => Promise<number>> {
  const uuids = (await domains.list()).map(({ uuid }) => uuid)
  return () =>
    timed(async () => {
      for (let next = 0; next < uuids.length; next += atOnce)
        await domains.stats({ domains: uuids.slice(next, next + atOnce) })
    })
}
