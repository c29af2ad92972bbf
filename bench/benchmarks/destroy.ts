import type { Benchmark } from '../harness.ts'
import { libraryName, openRunners, rawName } from '../runners.ts'

/** From the call until the machine is gone. */
export const destroy: Benchmark = {
  id: 'destroy',
  title: 'Destroy a domain: call to machine gone',
  unit: 'ms',
  aims: [{ ours: libraryName, peer: rawName, kind: 'at-most-more', value: 20 }],
  async prepare(bench) {
    return (await openRunners(bench)).map(({ name, ours, start, destroy }) => ({
      name,
      ours,
      async sample() {
        await start()
        return destroy()
      },
    }))
  },
}
