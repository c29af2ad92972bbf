import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Domain, type DomainDefinition, type Event, notFound } from '../model/index.ts'
import { combine } from './combine.ts'
import type { CallOptions, Connection } from './connection.ts'
import { entityTag } from './entity-tag.ts'
import { guard } from './guard.ts'
import { operationList } from './operations.ts'
import { permit } from './permit.ts'
import { complete, supports } from './supports.ts'

const uuids = ['00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002'] as const

/** A driver of two domains that can list, define, start and save, and remembers what it was asked. */
function smallDriver(driver = 'small', names: readonly string[] = ['web', 'db']) {
  const calls: string[] = []
  const definitions = new Map(
    names.map((name, index) => [
      uuids[index],
      { uuid: uuids[index], name, type: 'test' } as DomainDefinition,
    ]),
  )
  const observed = ({ uuid, name }: DomainDefinition) => ({ uuid, name, driver, state: 'shutoff' }) as Domain
  const find = (uuid: string) => {
    const definition = definitions.get(uuid as (typeof uuids)[0])
    if (!definition) throw notFound('domain', uuid)
    return definition
  }
  const connection: Connection = {
    uri: `${driver}:///`,
    host: {
      info: async () => ({ hostname: 'h' }) as never,
      capabilities: async () => [{ driver }] as never,
    },
    domains: {
      list: async ({ names: wanted } = {}) =>
        [...definitions.values()].filter(({ name }) => wanted?.includes(name) ?? true).map(observed),
      get: async (uuid) => observed(find(uuid)),
      describe: async (uuid) => find(uuid),
      define: async (definition) => {
        calls.push(`define ${definition.name} ${definition.uuid ?? 'new'}`)
        return observed(definition as DomainDefinition)
      },
      start: async (uuid) => void calls.push(`start ${uuid}`),
      save: (uuid, { signal }: CallOptions = {}) =>
        new Promise((_, reject) => {
          calls.push(`save ${uuid}`)
          signal?.addEventListener('abort', () => reject(new DOMException('', 'AbortError')))
        }),
      destroy: async (uuid) => void calls.push(`destroy ${uuid}`),
    },
    async *events(): AsyncGenerator<Event> {
      yield { time: 'now', kind: 'domain', type: 'started', name: names[0] }
    },
    async close() {
      calls.push('close')
    },
  }
  return { connection, calls }
}

const code = (expected: string) => (error: unknown) => {
  assert.equal((error as { code?: string }).code, expected, String(error))
  return true
}

test('domains are named by uuid in any case, or by name', async () => {
  const { connection, calls } = smallDriver()
  const guarded = guard(connection)
  await guarded.domains.start('web')
  await guarded.domains.start(uuids[1].toUpperCase())
  assert.deepEqual(calls, [`start ${uuids[0]}`, `start ${uuids[1]}`])
  await assert.rejects(guarded.domains.start('nothing'), code('not-found'))
  await assert.rejects(guarded.domains.start(''), code('invalid-argument'))
})

test('what the driver lacks fails with unsupported, and supports() says so', async () => {
  const guarded = guard(smallDriver().connection)
  assert.equal(supports(guarded, 'domains.start'), true)
  assert.equal(supports(guarded, 'domains.screenshot'), false)
  assert.equal(supports(complete(guarded), 'domains.screenshot'), false)
  assert.equal(supports(permit(guarded, 'read'), 'domains.screenshot'), false)
  await assert.rejects(guarded.domains.screenshot('web'), code('unsupported'))
  await assert.rejects(guarded.images.list(), code('unsupported'))
})

test('access is checked for every operation of the table', async () => {
  const everything = Object.fromEntries(
    [...new Set(operationList.map(({ part }) => part))].map((part) => [
      part,
      Object.fromEntries(
        operationList
          .filter((entry) => entry.part === part)
          .map(({ method }) => [method, async () => 'done']),
      ),
    ]),
  ) as unknown as Connection
  const levels = ['read', 'write', 'admin'] as const
  for (const access of levels) {
    const view = permit(everything, access) as unknown as Record<
      string,
      Record<string, () => Promise<unknown>>
    >
    for (const { part, method, operation } of operationList) {
      const allowed = levels.indexOf(operation.access) <= levels.indexOf(access)
      const outcome = await view[part]?.[method]?.().catch((error) => error.code)
      assert.equal(outcome, allowed ? 'done' : 'denied', `${access} ${part}.${method}`)
    }
  }
})

test('destroy cancels a save under way; the save is a job that can be listed', async () => {
  const { connection, calls } = smallDriver()
  const guarded = guard(connection)
  let id = ''
  const save = guarded.domains.save('web', { onJob: (job) => (id = job.id) })
  const ended = assert.rejects(save, code('cancelled'))
  while (!calls.includes(`save ${uuids[0]}`)) await new Promise(setImmediate)
  assert.equal((await guarded.jobs.get(id)).operation, 'domains.save')
  await guarded.domains.destroy('web')
  await ended
  assert.deepEqual(calls, [`save ${uuids[0]}`, `destroy ${uuids[0]}`])
})

test('define replaces by name, and keeps its conditions', async () => {
  const { connection, calls } = smallDriver()
  const guarded = guard(connection)
  const definition = { type: 'test', name: 'web', memoryKiB: 1024 } as const
  const tag = entityTag(await connection.domains.describe(uuids[0]))
  await guarded.domains.define({ ...definition }, { ifMatch: tag })
  assert.deepEqual(calls, [`define web ${uuids[0]}`])
  await assert.rejects(guarded.domains.define({ ...definition }, { ifMatch: 'other' }), code('conflict'))
  await assert.rejects(
    guarded.domains.define({ ...definition }, { ifNoneMatch: '*' }),
    code('already-exists'),
  )
  await assert.rejects(
    guarded.domains.define({ ...definition, name: 'new' }, { ifMatch: '*' }),
    code('not-found'),
  )
  await guarded.domains.define({ ...definition, name: 'new' }, { ifNoneMatch: '*' })
  assert.equal(calls.at(-1), 'define new new')
})

test('events of driver and jobs come numbered, and again after an id', async () => {
  const guarded = guard(smallDriver().connection)
  await guarded.domains.start('web')
  const seen: Event[] = []
  for await (const event of guarded.events({ after: '' })) {
    seen.push(event)
    break
  }
  assert.equal(seen[0]?.type, 'resync')
  const number = Number(seen[0]?.id?.split('-')[1])
  assert.equal(number, 3)
  const epoch = seen[0]?.id?.split('-')[0]
  const replayed: string[] = []
  for await (const event of guarded.events({ after: `${epoch}-0` }))
    if (replayed.push(`${event.kind}:${event.type}`) === number) break
  assert.deepEqual(replayed.sort(), ['domain:started', 'job:done', 'job:started'])
})

test('several drivers are one: routed by uuid, types and names', async () => {
  const [left, right] = [smallDriver('left', ['web']), smallDriver('right', [])]
  const members = [
    { scheme: 'left', domainTypes: ['test'], connection: left.connection },
    { scheme: 'right', domainTypes: ['qemu', 'kvm'], connection: right.connection },
  ]
  const guarded = guard(combine(members, { uri: 'visor:///', info: async () => ({}) as never }))
  assert.deepEqual(
    (await guarded.domains.list()).map(({ name, driver }) => `${driver}/${name}`),
    ['left/web'],
  )
  await guarded.domains.start('web')
  assert.deepEqual(left.calls, [`start ${uuids[0]}`])
  await guarded.domains.define({ type: 'kvm', name: 'new', memoryKiB: 1024 })
  assert.deepEqual(right.calls, ['define new new'])
  await assert.rejects(
    guarded.domains.define({ type: 'kvm', name: 'web', memoryKiB: 1024 }),
    code('already-exists'),
  )
  await assert.rejects(
    guarded.domains.define({ type: 'v86', name: 'x', memoryKiB: 1024 }),
    code('unsupported-config'),
  )
  await assert.rejects(guarded.domains.start(uuids[1]), code('not-found'))
  assert.deepEqual(
    (await guarded.host.capabilities()).map(({ driver }) => driver),
    ['left', 'right'],
  )
  await guarded.close()
  assert.ok(left.calls.includes('close') && right.calls.includes('close'))
})

test('entity tags are of content, not of key order', () => {
  assert.equal(entityTag({ a: 1, b: [2, { c: 3 }], d: undefined }), entityTag({ b: [2, { c: 3 }], a: 1 }))
  assert.notEqual(entityTag({ a: 1 }), entityTag({ a: 2 }))
})

test('definitions and options are checked before the driver sees them, and never changed', async () => {
  const { connection, calls } = smallDriver()
  const guarded = guard(connection)
  const given = Object.freeze({ type: 'test', name: 'web', memoryKiB: 1024 } as const)
  await guarded.domains.define(given)
  const wrong = { type: 'test', name: 'a/b', memoryKiB: -1 } as const
  await assert.rejects(guarded.domains.define(wrong), code('invalid-definition'))
  const twins = { disks: [{ target: 'vda' }, { target: 'vda' }] }
  await assert.rejects(guarded.domains.define({ ...given, devices: twins }), code('invalid-definition'))
  await assert.rejects(guarded.domains.start('web', { paused: 'yes' } as never), code('invalid-argument'))
  await assert.rejects(guarded.domains.start('web', { pause: true } as never), code('invalid-argument'))
  await assert.rejects(guarded.domains.list({ states: ['on'] } as never), code('invalid-argument'))
  assert.deepEqual(calls, [`define web ${uuids[0]}`])
})
