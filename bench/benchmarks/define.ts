import { libvirtDefinition, makeGuest, visorDefinition } from '../guest.ts'
import { type Benchmark, type Contender, timed } from '../harness.ts'
import { openLibrary } from '../ours/library.ts'
import { openVisord } from '../ours/visord.ts'
import { openLibvirt } from '../peers/libvirt.ts'
import { libraryName, libvirtName, restName } from '../runners.ts'

/** Durable when the call is back. */
export const define: Benchmark = {
  id: 'define',
  title: 'Define a domain that was not there',
  unit: 'ms',
  rounds: 25,
  async prepare(bench) {
    const guest = await makeGuest(bench.directory)
    let count = 0
    const nextGuest = () => ({ ...guest, name: `bench-${count++}` })
    const connections = [
      { name: libraryName, connection: await openLibrary(bench) },
      { name: restName, connection: (await openVisord(bench)).connection },
    ]
    const libvirt = await openLibvirt(bench)
    return [
      ...connections.map(
        ({ name, connection }): Contender => ({
          name,
          ours: true,
          sample: () => timed(() => connection.domains.define(visorDefinition(nextGuest()))),
        }),
      ),
      ...(libvirt
        ? [
            {
              name: libvirtName,
              ours: false,
              sample: () => libvirt.call({ op: 'define', xml: libvirtDefinition(nextGuest()) }),
            },
          ]
        : []),
    ]
  },
}
