import { type Benchmark, timed } from '../harness.ts'
import { directoriesOf, startVisord } from '../ours/visord.ts'
import { endChild, runToEnd } from '../processes.ts'

const visordName = 'visord, until it answers'

/** From the spawn until the first request is answered. */
export const ready: Benchmark = {
  id: 'ready',
  title: 'Start of the daemon',
  unit: 'ms',
  rounds: 11,
  aims: [{ ours: visordName, kind: 'at-most', value: 400 }],
  async prepare(bench) {
    const directories = directoriesOf(bench, 'ready')
    return [
      {
        name: 'node -e 0, to its end',
        ours: false,
        sample: () => timed(() => runToEnd(process.execPath, ['-e', '0'])),
      },
      {
        name: visordName,
        ours: true,
        async sample() {
          const started = performance.now()
          const { child } = await startVisord(directories)
          const ms = performance.now() - started
          await endChild(child)
          return ms
        },
      },
    ]
  },
}
