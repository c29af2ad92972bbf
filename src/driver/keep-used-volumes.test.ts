import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Domain, type DomainDefinition, DomainDefinition as description, parse } from '../model/index.ts'
import type { Domains } from './connection.ts'
import type { Templates, Uploads, Volumes } from './index.ts'
import { keepUploadedVolumes, keepUsedVolumes } from './keep-used-volumes.ts'

const define = (name: string, ...files: string[]) =>
  parse(description, {
    type: 'test',
    name,
    uuid: '00000000-0000-4000-8000-000000000001',
    memoryKiB: 1024,
    devices: { disks: files.map((file, index) => ({ file, target: `vd${'abc'[index]}` })) },
  })

/** Domains of one definition, of which the running machine may have another. */
function domainsOf(
  defined: DomainDefinition,
  running: DomainDefinition = defined,
  state: Domain['state'] = 'running',
): Pick<Domains, 'list' | 'describe'> {
  return {
    list: async () => [{ uuid: defined.uuid, name: defined.name, state } as Domain],
    describe: async (_, { inactive = false } = {}) => (inactive ? defined : running),
  }
}

function volumesThatRecord() {
  const removed: string[] = []
  const changed: string[] = []
  const volumes: Volumes = {
    list: async () => [],
    get: async (pool, name) => ({ pool, name, path: `/volumes/${name}` }) as never,
    resize: async (_, name) => changed.push(name) as never,
    wipe: async (_, name) => void changed.push(name),
    remove: async (_, name) => void removed.push(name),
  }
  return { volumes, removed, changed }
}

test('a disk that a machine has, or has at its next start, is not removed', async () => {
  const { volumes, removed } = volumesThatRecord()
  const members = [
    { domains: domainsOf(define('web', '/volumes/a', '/volumes/b')) as Domains },
    { domains: domainsOf(define('db'), define('db', '/volumes/c')) as Domains },
  ]
  const kept = keepUsedVolumes(volumes, members)
  for (const [volume, user] of [
    ['b', 'web'],
    ['c', 'db'],
  ] as const)
    await assert.rejects(async () => kept.remove?.('default', volume), {
      code: 'invalid-state',
      message: `The disk '${volume}' belongs to '${user}'.`,
    })
  await kept.remove?.('default', 'd')
  await kept.remove?.('default', 'b', { force: true })
  assert.deepEqual(removed, ['d', 'b'])
})

test('a disk that a template keeps is not removed', async () => {
  const { volumes, removed } = volumesThatRecord()
  const templates = { list: async () => [{ name: 'gold', disks: ['/volumes/a'] }] } as unknown as Templates
  const kept = keepUsedVolumes(volumes, [
    { domains: domainsOf(define('web', '/volumes/b')) as Domains, templates },
  ])
  await assert.rejects(async () => kept.remove?.('default', 'a'), {
    code: 'invalid-state',
    message: /'gold'/u,
  })
  await kept.remove?.('default', 'c')
  assert.deepEqual(removed, ['c'])
})

test('a disk is resized and wiped only while no machine runs with it', async () => {
  const { volumes, changed } = volumesThatRecord()
  const off = define('db', '/volumes/b')
  const members = [
    { domains: domainsOf(define('web', '/volumes/a')) as Domains },
    { domains: domainsOf(off, off, 'shutoff') as Domains },
  ]
  const kept = keepUsedVolumes(volumes, members)
  await assert.rejects(async () => kept.wipe?.('default', 'a'), { code: 'invalid-state', message: /'web'/u })
  await assert.rejects(async () => kept.resize?.('default', 'a', { capacityBytes: 1 }), {
    code: 'invalid-state',
    message: /'web'/u,
  })
  await kept.wipe?.('default', 'b')
  await kept.resize?.('default', 'b', { capacityBytes: 1 })
  assert.deepEqual(changed, ['b', 'b'])
})

test('a disk is found by its pool and name as well', async () => {
  const { volumes } = volumesThatRecord()
  const definition = parse(description, {
    ...{ type: 'test', name: 'web', uuid: '00000000-0000-4000-8000-000000000001', memoryKiB: 1024 },
    devices: { disks: [{ type: 'volume', pool: 'fast', volume: 'a', target: 'vda' }] },
  })
  const kept = keepUsedVolumes(volumes, [{ domains: domainsOf(definition) as Domains }])
  await assert.rejects(async () => kept.remove?.('fast', 'a'), { code: 'invalid-state', message: /fast\/a/u })
  await kept.remove?.('slow', 'a')
})

test('volumes that cannot be removed stay so', () => {
  const { volumes } = volumesThatRecord()
  assert.equal(keepUsedVolumes({ ...volumes, remove: undefined }, []).remove, undefined)
})

test('a disk is written, replaced and read only while no machine writes to it', async () => {
  const { volumes, changed } = volumesThatRecord()
  const used = { ...define('web', '/volumes/a', '/volumes/ro') }
  const [disk] = used.devices.disks.slice(1)
  if (disk) disk.readonly = true
  const members = [{ domains: domainsOf(used) as Domains }]
  const content = (async function* () {})()
  const all: Volumes = {
    ...volumes,
    write: async (_, name) => changed.push(`written ${name}`) as never,
    download: async (_, name) => changed.push(`read ${name}`) as never,
  }
  const uploads: Uploads = {
    list: async () => [],
    get: async (_, upload) => ({ volume: upload }) as never,
    create: async (_, { volume }) => changed.push(`begun ${volume}`) as never,
    finish: async (_, upload) => changed.push(`replaced ${upload}`) as never,
  }
  const kept = keepUsedVolumes(all, members)
  const keptUploads = keepUploadedVolumes({ uploads, volumes }, members)
  const refused = { code: 'invalid-state', message: /'web'/u }
  for (const name of ['a', 'ro']) {
    await assert.rejects(async () => kept.write?.('default', name, content), refused)
    await assert.rejects(
      async () => keptUploads.create?.('default', { volume: name, replace: true }),
      refused,
    )
    await assert.rejects(async () => keptUploads.finish?.('default', name), refused)
  }
  await assert.rejects(async () => kept.download?.('default', 'a'), refused)
  await kept.download?.('default', 'ro')
  await kept.write?.('default', 'b', content)
  await keptUploads.finish?.('default', 'b')
  assert.deepEqual(changed, ['read ro', 'written b', 'replaced b'])
})
