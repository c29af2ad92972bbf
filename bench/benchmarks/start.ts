import type { Benchmark } from '../harness.ts'
import { libraryName, libvirtName, openRunners, rawName } from '../runners.ts'

/** From the call until the processors run. */
export const start: Benchmark = {
  id: 'start',
  title: 'Start a domain: call to processors running (QEMU, emulated, 256 MiB)',
  unit: 'ms',
  aims: [
    { ours: libraryName, peer: rawName, kind: 'at-most-times', value: 1.25 },
    { ours: libraryName, peer: libvirtName, kind: 'faster-times', value: 6 },
  ],
  async prepare(bench) {
    return (await openRunners(bench)).map(({ name, ours, start, destroy }) => ({
      name,
      ours,
      async sample() {
        const ms = await start()
        await destroy()
        return ms
      },
    }))
  },
}
