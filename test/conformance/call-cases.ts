import assert from 'node:assert/strict'
import { operationList } from '../../src/driver/index.ts'
import type { Event, VisorError } from '../../src/model/index.ts'
import { allow, refused, until } from './bench.ts'
import type { Case } from './conform.ts'

const runs = ['domains.define', 'domains.start', 'domains.destroy'] as const

export const callCases: readonly Case[] = [
  {
    name: 'what the driver lacks fails with unsupported',
    async run({ connection, has }) {
      for (const { name, part, method } of operationList) {
        const methods = connection[part] as unknown as Record<
          string,
          (...args: unknown[]) => Promise<unknown>
        >
        assert.equal(typeof methods[method], 'function', name)
        if (!has.call({ connection }, name))
          await refused('unsupported', methods[method]?.('x', {}) ?? nothing)
      }
    },
  },
  {
    name: 'of parallel starts of one domain one goes well, and the others say why not',
    needs: runs,
    async run(bench) {
      const { uuid } = await bench.define()
      const calls = Array.from({ length: 8 }, () => bench.domains.start(uuid))
      const outcomes = await Promise.allSettled(calls)
      const codes = outcomes.map((one) =>
        one.status === 'fulfilled' ? 'done' : (one.reason as VisorError).code,
      )
      assert.deepEqual(codes.sort(), ['done', ...Array<string>(7).fill('invalid-state')])
      await bench.expectState(uuid, 'running')
    },
  },
  {
    name: 'calls on one domain at once leave it in one piece',
    needs: [...runs, 'domains.suspend', 'domains.resume'],
    async run(bench) {
      const { uuid } = await bench.define()
      const verbs = ['start', 'suspend', 'destroy', 'start', 'resume', 'suspend', 'start', 'destroy'] as const
      const expected = ['invalid-state', 'cancelled']
      const outcomes = await Promise.allSettled(verbs.map((verb) => bench.domains[verb](uuid)))
      for (const one of outcomes)
        if (one.status === 'rejected')
          assert.ok(expected.includes((one.reason as VisorError).code), one.reason)
      await bench.domains.destroy(uuid).catch(allow('invalid-state'))
      await bench.domains.start(uuid)
      await bench.expectState(uuid, 'running')
    },
  },
  {
    name: 'domains do not wait for each other',
    needs: runs,
    async run(bench) {
      const domains = await Promise.all([bench.define(), bench.define(), bench.define(), bench.define()])
      await Promise.all(domains.map(({ uuid }) => bench.domains.start(uuid)))
      for (const { uuid } of domains) await bench.expectState(uuid, 'running')
      const ids = await Promise.all(domains.map(async ({ uuid }) => (await bench.domains.get(uuid)).id))
      assert.equal(new Set(ids).size, domains.length, 'Each has an id of its own.')
      await Promise.all(domains.map(({ uuid }) => bench.domains.destroy(uuid)))
      for (const { uuid } of domains) await bench.expectState(uuid, 'shutoff')
    },
  },
  {
    name: 'a call that was given up before it began changes nothing',
    needs: runs,
    async run(bench) {
      const { uuid } = await bench.define()
      await refused('cancelled', bench.domains.start(uuid, { signal: AbortSignal.abort() }))
      await bench.expectState(uuid, 'shutoff')
      await bench.domains.start(uuid)
      await refused('cancelled', bench.domains.destroy(uuid, { signal: AbortSignal.abort() }))
      await bench.expectState(uuid, 'running')
    },
  },
  {
    name: 'a start that is given up half way leaves nothing half done',
    needs: runs,
    async run(bench) {
      const { uuid } = await bench.define()
      for (const turns of [0, 1, 5, 20, 80]) {
        const abort = new AbortController()
        const start = bench.domains.start(uuid, { signal: abort.signal }).then(
          () => 'done',
          (error: VisorError) => error.code,
        )
        for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
        abort.abort()
        const outcome = await start
        assert.ok(outcome === 'done' || outcome === 'cancelled', `It ended as ${outcome}.`)
        await bench.expectState(uuid, outcome === 'done' ? 'running' : 'shutoff')
        if (outcome === 'done') await bench.domains.destroy(uuid)
      }
      await bench.domains.start(uuid)
      await bench.expectState(uuid, 'running')
    },
  },
  {
    name: 'a change is a job that can be read afterwards',
    needs: runs,
    async run(bench) {
      const { uuid } = await bench.define()
      let id = ''
      await bench.domains.start(uuid, {
        onJob(job) {
          id = job.id
        },
      })
      const job = await bench.connection.jobs.wait(id)
      assert.deepEqual([job.operation, job.target, job.state], ['domains.start', uuid, 'done'])
      let failed = ''
      const again = bench.domains.start(uuid, {
        onJob(job) {
          failed = job.id
        },
      })
      await refused('invalid-state', again)
      assert.equal((await bench.connection.jobs.get(failed)).state, 'failed')
    },
  },
  {
    name: 'events can be heard again from an id on',
    needs: ['domains.define', 'domains.undefine'],
    async run(bench) {
      const events = bench.listen()
      const first = await bench.define()
      const { id } = await events.until(first.uuid, 'defined')
      assert.ok(id, 'Events have ids.')
      const second = await bench.define()
      await events.until(second.uuid, 'defined')
      const replayed: Event[] = []
      for await (const event of bench.connection.events({ after: id })) {
        replayed.push(event)
        if (event.uuid === second.uuid) break
      }
      assert.ok(!replayed.some(({ uuid }) => uuid === first.uuid), 'Not what was heard before.')
      assert.ok(!replayed.some(({ type }) => type === 'resync'), 'Nothing was missed.')
    },
  },
  {
    name: 'events end when their listener gives up',
    async run(bench) {
      const abort = new AbortController()
      let ended = false
      const listening = (async () => {
        for await (const _ of bench.connection.events({ signal: abort.signal }));
        ended = true
      })()
      abort.abort()
      await listening
      await until('the end of the events', async () => ended || undefined)
    },
  },
]

const nothing = Promise.resolve()
