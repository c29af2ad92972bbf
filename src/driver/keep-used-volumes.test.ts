import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Domain, type DomainDefinition, DomainDefinition as description, parse } from '../model/index.ts'
import type { Domains, Volumes } from './connection.ts'
import type { Templates } from './index.ts'
import { keepUsedVolumes } from './keep-used-volumes.ts'

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
): Pick<Domains, 'list' | 'describe'> {
  return {
    list: async () => [{ uuid: defined.uuid, name: defined.name } as Domain],
    describe: async (_, { inactive = false } = {}) => (inactive ? defined : running),
  }
}

function volumesThatRecord() {
  const removed: string[] = []
  const volumes: Volumes = {
    list: async () => [],
    get: async (name) => ({ name, path: `/volumes/${name}` }) as never,
    remove: async (name) => void removed.push(name),
  }
  return { volumes, removed }
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
    await assert.rejects(async () => kept.remove?.(volume), {
      code: 'invalid-state',
      message: `The disk '${volume}' belongs to '${user}'.`,
    })
  await kept.remove?.('d')
  await kept.remove?.('b', { force: true })
  assert.deepEqual(removed, ['d', 'b'])
})

test('a disk that a template keeps is not removed', async () => {
  const { volumes, removed } = volumesThatRecord()
  const templates = { list: async () => [{ name: 'gold', disks: ['/volumes/a'] }] } as unknown as Templates
  const kept = keepUsedVolumes(volumes, [
    { domains: domainsOf(define('web', '/volumes/b')) as Domains, templates },
  ])
  await assert.rejects(async () => kept.remove?.('a'), { code: 'invalid-state', message: /'gold'/u })
  await kept.remove?.('c')
  assert.deepEqual(removed, ['c'])
})

test('volumes that cannot be removed stay so', () => {
  const { volumes } = volumesThatRecord()
  assert.equal(keepUsedVolumes({ ...volumes, remove: undefined }, []).remove, undefined)
})
