import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { combine, guard, memoryStore, silentLog } from '../../src/driver/index.ts'
import { createOverlay, runChecked } from '../../src/host/index.ts'
import { openStorage } from '../../src/storage/index.ts'
import { type Benchmark, timed, type Workbench } from '../harness.ts'

const size = 10 * 2 ** 30
const many = 5_000
const info = () => Promise.reject(new Error('nobody asks'))

async function openPool(bench: Workbench, name: string) {
  const folder = join(bench.directory, name)
  const storage = await openStorage({
    ...{ stateDirectory: join(folder, 'state'), runtimeDirectory: join(folder, 'run') },
    ...{ store: memoryStore(), log: silentLog },
  })
  bench.defer(() => storage.close())
  const { volumes } = guard(combine([], { uri: 'bench:///storage', info, storage }))
  await volumes.list('default')
  return { volumes, folder: join(folder, 'state/volumes') }
}

const cloneName = 'visor, linked clone'
const qemuName = 'qemu-img create -b'

export const volumeClone: Benchmark = {
  id: 'volume-clone',
  title: 'Linked clone of a volume of 10 GiB',
  unit: 'ms',
  aims: [{ ours: cloneName, kind: 'at-most', value: 30 }],
  async prepare(bench) {
    const { volumes, folder } = await openPool(bench, 'clone')
    const base = await volumes.create('default', { name: 'base.qcow2', capacityBytes: size })
    let count = 0
    return [
      {
        name: cloneName,
        ours: true,
        sample: () =>
          timed(() => volumes.clone('default', 'base.qcow2', { name: `c${count++}.qcow2`, linked: true })),
      },
      {
        name: qemuName,
        ours: false,
        sample: () => {
          const file = join(folder, `q${count++}.qcow2`)
          return timed(() =>
            runChecked('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base.path, '-F', 'qcow2', file]),
          )
        },
      },
    ]
  },
}

const firstName = 'visor, never seen before'
const againName = 'visor, seen before'

export const volumeList: Benchmark = {
  id: 'volume-list',
  title: 'List 5,000 volumes (qcow2, each based on another)',
  unit: 'ms',
  rounds: 5,
  aims: [
    { ours: firstName, kind: 'at-most', value: 150 },
    { ours: againName, kind: 'at-most', value: 150 },
  ],
  async prepare(bench) {
    const { volumes, folder } = await openPool(bench, 'list')
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'base.raw'), '')
    const base = { file: join(folder, 'base.raw'), format: 'raw', sizeBytes: size } as const
    for (let index = 0; index < many; index++) await createOverlay(join(folder, `v${index}.qcow2`), base)
    let round = 0
    return [
      {
        name: firstName,
        ours: true,
        async sample() {
          const storage = await openStorage({
            ...{
              stateDirectory: join(folder, '..'),
              runtimeDirectory: join(bench.directory, `run${round++}`),
            },
            ...{ store: memoryStore(), log: silentLog },
          })
          const milliseconds = await timed(() => storage.volumes.list('default'))
          await storage.close()
          return milliseconds
        },
      },
      { name: againName, ours: true, sample: () => timed(() => volumes.list('default')) },
    ]
  },
}
