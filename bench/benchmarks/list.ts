import { type Benchmark, timed } from '../harness.ts'
import { openMany } from '../many.ts'
import { libraryName, libvirtName, restName } from '../runners.ts'

export const list: Benchmark = {
  id: 'list',
  title: 'List 1,000 defined domains',
  unit: 'ms',
  rounds: 15,
  async prepare(bench) {
    const { library, rest, libvirt } = await openMany(bench)
    return [
      { name: libraryName, ours: true, sample: () => timed(() => library.domains.list()) },
      { name: restName, ours: true, sample: () => timed(() => rest.domains.list()) },
      ...(libvirt ? [{ name: libvirtName, ours: false, sample: () => libvirt.call({ op: 'list' }) }] : []),
    ]
  },
}
