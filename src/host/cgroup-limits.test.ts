import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { applyLimits, limitSettings, passOnControllers, withoutLeaf } from './cgroup-limits.ts'
import { cpuGroup, limitThreads } from './cgroup-threads.ts'

const limits = {
  cpuShares: 512,
  cpuQuotaUs: 50_000,
  memoryBytes: 2 ** 28,
  memorySoftBytes: 2 ** 27,
  memorySwapBytes: 2 ** 29,
  ioWeight: 200,
  pids: 100,
}
const said = (hierarchies: string[], wanted: object = limits) => {
  const groups = hierarchies.map((controller) => ({ controller, parent: `/${controller}` }))
  const paths = groups.map(({ parent }) => `${parent}/g`)
  return limitSettings(groups, paths, wanted).map(({ path, file, value }) => `${path}/${file} ${value}`)
}

test('the files of version 1 stand in the hierarchies of their controllers', () => {
  assert.deepEqual(said(['2', 'cpuacct,cpu', 'memory', 'pids', 'blkio']), [
    '/cpuacct,cpu/g/cpu.shares 512',
    '/cpuacct,cpu/g/cpu.cfs_quota_us 50000',
    '/memory/g/memory.limit_in_bytes 268435456',
    '/memory/g/memory.soft_limit_in_bytes 134217728',
    '/memory/g/memory.memsw.limit_in_bytes 536870912',
    '/blkio/g/blkio.weight 200',
    '/pids/g/pids.max 100',
  ])
})

test('version 2 has its own files and ways of writing', () => {
  assert.deepEqual(said(['2']), [
    '/2/g/cpu.weight 512',
    '/2/g/cpu.max 50000 100000',
    '/2/g/memory.max 268435456',
    '/2/g/memory.high 134217728',
    '/2/g/memory.swap.max 268435456',
    '/2/g/io.weight 200',
    '/2/g/pids.max 100',
  ])
  assert.deepEqual(said(['2'], { cpuQuotaUs: -1, cpuPeriodUs: 20_000 }), ['/2/g/cpu.max max 20000'])
})

test('what no hierarchy can limit is refused, and a device that is none', () => {
  const refused = { code: 'unsupported-config' }
  assert.throws(() => said([], { pids: 1 }), refused)
  assert.deepEqual(said([], {}), [])
  assert.throws(() => said(['2'], { ioDevices: [{ path: '/dev/null', readBytes: 1 }] }), refused)
})

/** A hierarchy of version 2 in plain files: what is written to them can be seen, nothing more. */
async function withTree(files: Record<string, string>, work: (top: string) => Promise<void>): Promise<void> {
  const top = await mkdtemp(join(tmpdir(), 'visor-cgroup-'))
  try {
    for (const [file, text] of Object.entries(files)) await writeFile(join(top, file), text)
    await work(top)
  } finally {
    await rm(top, { recursive: true, force: true })
  }
}

test('controllers are passed on, and no process is moved for it', () =>
  withTree(
    {
      'cgroup.controllers': 'cpu memory hugetlb',
      'cgroup.subtree_control': 'cpu memory',
      'cgroup.procs': '1\n2\n',
    },
    async (top) => {
      assert.deepEqual(await passOnControllers(top), ['cpu', 'memory'])
      assert.equal(await readFile(join(top, 'cgroup.procs'), 'utf8'), '1\n2\n')
      assert.equal(existsSync(join(top, 'visord')), false)
    },
  ))

test('without controllers there is nothing to do', () =>
  withTree({ 'cgroup.controllers': 'hugetlb\n', 'cgroup.subtree_control': '' }, async (top) => {
    assert.deepEqual(await passOnControllers(top), [])
    assert.equal(withoutLeaf('/a/visord'), '/a')
    assert.equal(withoutLeaf('/a/visord.service'), '/a/visord.service')
  }))

test('a limit that the kernel has no file for is refused with its name', () =>
  withTree({}, async (top) => {
    await mkdir(join(top, 'g'))
    await writeFile(join(top, 'g', 'blkio.bfq.weight'), '')
    const setting = { path: join(top, 'g'), value: '200', what: 'weight' }
    await applyLimits([{ ...setting, file: 'blkio.weight', otherFile: 'blkio.bfq.weight' }])
    assert.equal(await readFile(join(top, 'g', 'blkio.bfq.weight'), 'utf8'), '200')
    await assert.rejects(applyLimits([{ ...setting, file: 'nosuch' }]), {
      code: 'unsupported-config',
      message: /^The weight 200 cannot be set here/u,
    })
  }))

test('threads of a guest are held in groups of their own, in version 2 threaded ones', () =>
  withTree({}, async (path) => {
    const hierarchies = [{ controller: '2', parent: '/none' }]
    assert.deepEqual(cpuGroup(hierarchies, [path]), { path, controller: '2' })
    for (const name of ['vcpu0', 'emulator']) {
      await mkdir(join(path, name))
      for (const file of ['cgroup.type', 'cgroup.threads', 'cpu.max'])
        await writeFile(join(path, name, file), '')
    }
    const groups = [
      { name: 'vcpu0', threads: [11], cpuQuotaUs: 20_000, cpuPeriodUs: 50_000 },
      { name: 'emulator', threads: [10], cpuQuotaUs: -1 },
    ]
    await limitThreads({ path, controller: '2' }, groups)
    const said = (name: string, file: string) => readFile(join(path, name, file), 'utf8')
    assert.equal(await said('vcpu0', 'cgroup.type'), 'threaded')
    assert.equal(await said('vcpu0', 'cgroup.threads'), '11')
    assert.equal(await said('vcpu0', 'cpu.max'), '20000 50000')
    assert.equal(await said('emulator', 'cgroup.threads'), '10')
    assert.equal(await said('emulator', 'cpu.max'), 'max 100000')
    const vain = limitThreads({ path, controller: '2' }, [
      { name: 'iothread1', threads: [12], cpuQuotaUs: 1 },
    ])
    await assert.rejects(vain, { code: 'unsupported-config', message: /^The threads of 'iothread1'/u })
  }))

test('where nothing limits processors, no thread is limited', () => {
  assert.throws(() => cpuGroup([{ controller: 'memory', parent: '/m' }], ['/m/g']), {
    code: 'unsupported-config',
  })
})
