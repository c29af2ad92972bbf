import assert from 'node:assert/strict'
import { Capabilities, Domain, DomainStats, HostInfo } from '../../src/model/index.ts'
import { refused, until } from './bench.ts'
import type { Case } from './conform.ts'
import { assertIs } from './documents.ts'

const runs = ['domains.define', 'domains.start', 'domains.destroy'] as const

export const observationCases: readonly Case[] = [
  {
    name: 'host and capabilities are what the model says',
    async run(bench) {
      assertIs(HostInfo, await bench.connection.host.info())
      const capabilities = await bench.connection.host.capabilities()
      assert.ok(capabilities.length > 0)
      for (const one of capabilities) assertIs(Capabilities, one)
      const { type } = bench.newDefinition()
      const types = capabilities.flatMap(({ guests }) => guests.flatMap(({ domainTypes }) => domainTypes))
      assert.ok(types.includes(type), `A guest of type ${type} is among the capabilities.`)
    },
  },
  {
    name: 'domains are what the model says, at rest and running',
    needs: runs,
    async run(bench) {
      const { uuid } = await bench.define()
      assertIs(Domain, await bench.domains.get(uuid))
      await bench.domains.start(uuid)
      assertIs(Domain, await bench.domains.get(uuid))
    },
  },
  {
    name: 'list is by name and filters by state, name and driver',
    needs: runs,
    async run(bench) {
      const names = [bench.newName(), bench.newName(), bench.newName()]
      for (const name of names.toReversed()) await bench.domains.define(bench.subject.makeDefinition(name))
      const [first = '', second = ''] = names
      await bench.domains.start(first)
      const found = async (filter: Parameters<typeof bench.domains.list>[0]) =>
        (await bench.domains.list(filter)).map(({ name }) => name)
      assert.deepEqual(await found({ names }), names)
      const all = await found({})
      assert.deepEqual(all, all.toSorted())
      assert.deepEqual(await found({ names, states: ['running'] }), [first])
      assert.deepEqual(await found({ names, states: ['shutoff', 'paused'] }), names.slice(1))
      assert.deepEqual(await found({ names: [second, 'nobody'] }), [second])
      assert.deepEqual(await found({ names: [] }), [])
      const { driver } = await bench.domains.get(first)
      assert.deepEqual(await found({ names, driver }), names)
      assert.deepEqual(await found({ names, driver: 'none' }), [])
      for (const domain of await bench.domains.list({ names }))
        assert.deepEqual(domain, await bench.domains.get(domain.uuid))
    },
  },
  {
    name: 'stats are of all that run, or of those named',
    needs: [...runs, 'domains.stats'],
    async run(bench) {
      const running = await bench.started()
      const resting = await bench.define()
      const all = await bench.domains.stats()
      assert.ok(all.some(({ uuid }) => uuid === running.uuid))
      assert.ok(!all.some(({ uuid }) => uuid === resting.uuid))
      const named = await bench.domains.stats({ domains: [running.name, resting.uuid] })
      assert.deepEqual(named.map(({ name }) => name).sort(), [running.name, resting.name].sort())
      for (const one of named) assertIs(DomainStats, one)
      const busy = named.find(({ uuid }) => uuid === running.uuid)
      assert.equal(busy?.state, 'running')
      assert.equal(busy?.vcpus.length, running.vcpus)
      assert.equal(named.find(({ uuid }) => uuid === resting.uuid)?.state, 'shutoff')
    },
  },
  {
    name: 'the processor time of a running guest grows',
    needs: [...runs, 'domains.stats'],
    async run(bench) {
      const { uuid } = await bench.started()
      const read = async () => (await bench.domains.stats({ domains: [uuid] }))[0]?.cpuTimeNs ?? 0
      const first = await read()
      await until('more processor time', async () => (await read()) > first || undefined)
    },
  },
  {
    name: 'screenshot is a picture',
    needs: [...runs, 'domains.screenshot'],
    async run(bench) {
      const { uuid } = await bench.started()
      const { mediaType, bytes } = await bench.domains.screenshot(uuid)
      const magic = Buffer.from(bytes.subarray(0, 8)).toString('latin1')
      const isPicture = mediaType === 'image/png' ? magic === '\x89PNG\r\n\x1a\n' : magic.startsWith('P6')
      assert.ok(isPicture, `${mediaType} begins with ${JSON.stringify(magic)}`)
      await refused('invalid-argument', bench.domains.screenshot(uuid, { screen: 99 }))
    },
  },
  {
    name: 'screenText is the screen in lines',
    needs: [...runs, 'domains.screenText'],
    async run(bench) {
      const { uuid } = await bench.started()
      const text = await until('text on the screen', async () => {
        const screen = await bench.domains.screenText(uuid)
        return screen.trim() === '' ? undefined : screen
      })
      assert.ok(text.endsWith('\n'))
    },
  },
]
