import assert from 'node:assert/strict'
import { entityTag } from '../../src/driver/index.ts'
import type { DomainDefinition, DomainDefinitionInput } from '../../src/model/index.ts'
import { refused } from './bench.ts'
import type { Case } from './conform.ts'
import { assertHolds, assertNotationsKeep } from './documents.ts'

const other = '0badcafe-0000-4000-8000-000000000001'

export const definitionCases: readonly Case[] = [
  {
    name: 'define makes a persistent domain that is shut off',
    needs: ['domains.define'],
    async run(bench) {
      const events = bench.listen()
      const definition = bench.newDefinition()
      const domain = await bench.domains.define(definition)
      assert.match(domain.uuid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u)
      const { name, state, persistent, autostart, saved, id } = domain
      assert.deepEqual(
        { name, state, persistent, autostart, saved, id },
        {
          name: definition.name,
          state: 'shutoff',
          persistent: true,
          autostart: false,
          saved: false,
          id: undefined,
        },
      )
      assert.deepEqual(await bench.domains.get(domain.uuid), domain)
      assert.deepEqual(await bench.domains.get(name), domain)
      const event = await events.until(domain.uuid, 'defined')
      assert.equal(event.name, name)
    },
  },
  {
    name: 'describe gives what was defined, and defining that again changes nothing',
    needs: ['domains.define'],
    async run(bench) {
      const definition = bench.newDefinition()
      const { uuid } = await bench.domains.define(definition)
      const described = await bench.domains.describe(uuid)
      assertHolds(described, definition)
      assert.equal(described.uuid, uuid)
      assert.deepEqual(await bench.domains.describe(uuid, { inactive: true }), described)
      await bench.domains.define(described)
      assert.deepEqual(await bench.domains.describe(uuid), described)
    },
  },
  {
    name: 'a definition goes through XML, YAML and JSON unchanged',
    needs: ['domains.define'],
    async run(bench) {
      const { uuid } = await bench.define()
      assertNotationsKeep(await bench.domains.describe(uuid))
      if (!bench.has('domains.start')) return
      await bench.domains.start(uuid)
      assertNotationsKeep(await bench.domains.describe(uuid))
    },
  },
  {
    name: 'a definition without uuid replaces the one with its name',
    needs: ['domains.define'],
    async run(bench) {
      const first = await bench.define()
      const second = await bench.domains.define({
        ...bench.subject.makeDefinition(first.name),
        title: 'second',
      })
      assert.equal(second.uuid, first.uuid)
      assert.equal(second.title, 'second')
      assert.equal((await bench.domains.list({ names: [first.name] })).length, 1)
    },
  },
  {
    name: 'a name that is taken cannot be had under another uuid',
    needs: ['domains.define'],
    async run(bench) {
      const { name, uuid } = await bench.define()
      const twin = { ...bench.subject.makeDefinition(name), uuid: other }
      await refused('already-exists', bench.domains.define(twin))
      assert.equal((await bench.domains.get(name)).uuid, uuid)
      await refused('not-found', bench.domains.get(other))
    },
  },
  {
    name: 'the same uuid with another name renames, but not into a name that is taken',
    needs: ['domains.define'],
    async run(bench) {
      const [first, second] = [await bench.define(), await bench.define()]
      const renamed = { ...bench.newDefinition(), uuid: first.uuid }
      assert.equal((await bench.domains.define(renamed)).uuid, first.uuid)
      assert.equal((await bench.domains.get(first.uuid)).name, renamed.name)
      await refused('not-found', bench.domains.get(first.name))
      const taken = { ...bench.subject.makeDefinition(second.name), uuid: first.uuid }
      await refused('already-exists', bench.domains.define(taken))
      assert.equal((await bench.domains.get(first.uuid)).name, renamed.name)
    },
  },
  {
    name: 'a definition that is wrong, or of another driver, changes nothing',
    needs: ['domains.define'],
    async run(bench) {
      const definition = bench.newDefinition()
      const foreign = {
        ...definition,
        type: definition.type === 'test' ? 'v86' : 'test',
      } as DomainDefinitionInput
      await refused('unsupported-config', bench.domains.define(foreign))
      const { memoryKiB: _, ...withoutMemory } = definition
      await refused('invalid-definition', bench.domains.define(withoutMemory as DomainDefinitionInput))
      const slash = { ...definition, name: `${definition.name}/..` }
      await refused('invalid-definition', bench.domains.define(slash))
      assert.deepEqual(await bench.domains.list({ names: [definition.name, slash.name] }), [])
    },
  },
  {
    name: 'define keeps its conditions',
    needs: ['domains.define'],
    async run(bench) {
      const definition = bench.newDefinition()
      await refused('not-found', bench.domains.define({ ...definition }, { ifMatch: '*' }))
      const { uuid } = await bench.domains.define({ ...definition }, { ifNoneMatch: '*' })
      await refused('already-exists', bench.domains.define({ ...definition }, { ifNoneMatch: '*' }))
      const tag = entityTag(await bench.domains.describe(uuid, { inactive: true }))
      await bench.domains.define({ ...definition, title: 'changed' }, { ifMatch: tag })
      await refused('conflict', bench.domains.define({ ...definition, title: 'late' }, { ifMatch: tag }))
      assert.equal((await bench.domains.get(uuid)).title, 'changed')
    },
  },
  {
    name: 'defining a domain that runs changes its next start only',
    needs: ['domains.define', 'domains.start', 'domains.destroy'],
    async run(bench) {
      const { uuid, name, memoryKiB } = await bench.started()
      const running = await bench.domains.describe(uuid)
      const bigger: DomainDefinition = {
        ...(await bench.domains.describe(uuid, { inactive: true })),
        memoryKiB: memoryKiB + 4096,
      }
      delete bigger.currentMemoryKiB
      await bench.domains.define(bigger)
      assert.deepEqual(await bench.domains.describe(uuid), running)
      assert.equal((await bench.domains.describe(uuid, { inactive: true })).memoryKiB, memoryKiB + 4096)
      assert.equal((await bench.expectState(uuid, 'running')).maxMemoryKiB, memoryKiB)
      await refused('invalid-state', bench.domains.define({ ...bigger, name: bench.newName() }))
      await bench.domains.destroy(name)
      assert.equal((await bench.domains.get(uuid)).maxMemoryKiB, memoryKiB + 4096)
    },
  },
  {
    name: 'undefine forgets a domain',
    needs: ['domains.define', 'domains.undefine'],
    async run(bench) {
      const events = bench.listen()
      const { uuid, name } = await bench.define()
      await bench.domains.undefine(name)
      await refused('not-found', bench.domains.get(uuid))
      await refused('not-found', bench.domains.undefine(uuid))
      assert.deepEqual(await bench.domains.list({ names: [name] }), [])
      assert.equal((await events.until(uuid, 'undefined')).name, name)
    },
  },
  {
    name: 'undefine refuses a domain that runs',
    needs: ['domains.define', 'domains.undefine', 'domains.start'],
    async run(bench) {
      const { uuid } = await bench.started()
      const { remedy } = await refused('invalid-state', bench.domains.undefine(uuid))
      assert.ok(remedy, 'The error has a remedy.')
      await bench.expectState(uuid, 'running')
    },
  },
  {
    name: 'autostart is kept, also when the definition is replaced',
    needs: ['domains.define', 'domains.setAutostart'],
    async run(bench) {
      const { uuid, name } = await bench.define()
      await bench.domains.setAutostart(uuid, { enabled: true })
      await bench.domains.setAutostart(uuid, { enabled: true })
      assert.equal((await bench.domains.get(uuid)).autostart, true)
      await bench.domains.define(bench.subject.makeDefinition(name))
      assert.equal((await bench.domains.get(uuid)).autostart, true)
      await bench.domains.setAutostart(uuid, { enabled: false })
      assert.equal((await bench.domains.get(uuid)).autostart, false)
    },
  },
]
