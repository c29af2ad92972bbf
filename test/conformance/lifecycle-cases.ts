import assert from 'node:assert/strict'
import { type OperationName, operationList } from '../../src/driver/index.ts'
import { described, type schema as s } from '../../src/model/index.ts'
import { refused } from './bench.ts'
import type { Case } from './conform.ts'

const runs = ['domains.define', 'domains.start', 'domains.destroy'] as const
const nobody = '0badcafe-0000-4000-8000-00000000dead'

/** What can only be done to a domain that runs, with its options. */
const ofRunning: readonly [method: string, options?: object][] = [
  ['shutdown'],
  ['destroy'],
  ['reboot'],
  ['reset'],
  ['suspend'],
  ['resume'],
  ['save'],
  ['openConsole'],
  ['screenshot'],
  ['screenText'],
]

export const lifecycleCases: readonly Case[] = [
  {
    name: 'start runs a domain',
    needs: runs,
    async run(bench) {
      const events = bench.listen()
      const { uuid } = await bench.define()
      assert.equal(await bench.domains.start(uuid), undefined)
      const domain = await bench.expectState(uuid, 'running', 'booted')
      assert.ok(Number.isInteger(domain.id), 'It has an id while it runs.')
      assert.ok(Number.isFinite(Date.parse(domain.startedAt ?? '')), 'It says since when it runs.')
      assert.equal((await events.until(uuid, 'started')).reason, 'booted')
    },
  },
  {
    name: 'start refuses a domain that runs, and leaves it alone',
    needs: runs,
    async run(bench) {
      const before = await bench.started()
      const error = await refused('invalid-state', bench.domains.start(before.uuid))
      assert.ok(error.message.includes(before.name), 'The message names the domain.')
      assert.deepEqual(await bench.domains.get(before.uuid), before)
    },
  },
  {
    name: 'a domain started paused waits for resume',
    needs: [...runs, 'domains.resume'],
    async run(bench) {
      const events = bench.listen()
      const { uuid } = await bench.started({ paused: true })
      await bench.expectState(uuid, 'paused')
      await events.until(uuid, 'started')
      await bench.domains.resume(uuid)
      await bench.expectState(uuid, 'running')
      await events.until(uuid, 'resumed')
    },
  },
  {
    name: 'suspend stops the processors, resume lets them go on',
    needs: [...runs, 'domains.suspend', 'domains.resume'],
    async run(bench) {
      const { uuid, id } = await bench.started()
      await bench.domains.suspend(uuid)
      assert.equal((await bench.expectState(uuid, 'paused', 'user')).id, id)
      await refused('invalid-state', bench.domains.suspend(uuid))
      await bench.domains.resume(uuid)
      assert.equal((await bench.expectState(uuid, 'running', 'resumed')).id, id)
      await refused('invalid-state', bench.domains.resume(uuid))
    },
  },
  {
    name: 'destroy takes the power away, from a paused domain too',
    needs: runs,
    async run(bench) {
      const events = bench.listen()
      const { uuid } = await bench.started()
      await bench.domains.destroy(uuid)
      const { id, startedAt, pid } = await bench.expectState(uuid, 'shutoff', 'destroyed')
      assert.deepEqual([id, startedAt, pid], [undefined, undefined, undefined])
      assert.equal((await events.until(uuid, 'stopped')).reason, 'destroyed')
      await bench.domains.start(uuid, { paused: true })
      await bench.domains.destroy(uuid, { graceful: true })
      await bench.expectState(uuid, 'shutoff', 'destroyed')
    },
  },
  {
    name: 'a domain that was stopped can be started again, many times',
    needs: runs,
    async run(bench) {
      const { uuid } = await bench.define()
      for (let round = 0; round < 5; round++) {
        await bench.domains.start(uuid)
        await bench.expectState(uuid, 'running')
        await bench.domains.destroy(uuid)
        await bench.expectState(uuid, 'shutoff')
      }
    },
  },
  {
    name: 'shutdown asks the guest, which then powers off',
    needs: [...runs, 'domains.shutdown'],
    wants: ['powersOff'],
    async run(bench) {
      const events = bench.listen()
      const { uuid } = await bench.started()
      await bench.untilBooted(uuid)
      assert.equal(await bench.domains.shutdown(uuid), undefined)
      assert.equal((await events.until(uuid, 'stopped')).reason, 'shutdown')
      assert.equal((await bench.untilState(uuid, 'shutoff')).reason, 'shutdown')
    },
  },
  {
    name: 'reset begins anew in the same machine',
    needs: [...runs, 'domains.reset'],
    async run(bench) {
      const events = bench.listen()
      const before = await bench.started()
      await bench.domains.reset(before.uuid)
      const domain = await bench.expectState(before.uuid, 'running')
      assert.equal(domain.id, before.id)
      await events.until(before.uuid, 'rebooted')
      assert.ok(!events.types(before.uuid).includes('stopped'), 'It was never stopped.')
    },
  },
  {
    name: 'reboot asks the guest, which begins anew in the same machine',
    needs: [...runs, 'domains.reboot'],
    wants: ['powersOff'],
    async run(bench) {
      const events = bench.listen()
      const { uuid, id } = await bench.started()
      await bench.untilBooted(uuid)
      await bench.domains.reboot(uuid)
      await events.until(uuid, 'rebooted')
      assert.equal((await bench.expectState(uuid, 'running')).id, id)
      assert.ok(!events.types(uuid).includes('stopped'), 'It was never stopped.')
    },
  },
  {
    name: 'a guest that powers itself off is shut off, and can be started again',
    needs: [...runs, 'domains.openConsole'],
    wants: ['keys'],
    async run(bench) {
      const events = bench.listen()
      const { uuid } = await bench.started()
      await bench.untilBooted(uuid)
      const viewer = await bench.openConsole(uuid)
      await viewer.type(bench.subject.keys?.powerOff ?? '')
      assert.equal((await events.until(uuid, 'stopped')).reason, 'shutdown')
      await bench.expectState(uuid, 'shutoff', 'shutdown')
      await viewer.ended
      await bench.domains.start(uuid)
      await bench.expectState(uuid, 'running', 'booted')
    },
  },
  {
    name: 'a guest that reboots itself goes on in the same machine',
    needs: [...runs, 'domains.openConsole'],
    wants: ['keys'],
    async run(bench) {
      const events = bench.listen()
      const { uuid, id } = await bench.started()
      await bench.untilBooted(uuid)
      const viewer = await bench.openConsole(uuid)
      await viewer.type(bench.subject.keys?.reboot ?? '')
      await events.until(uuid, 'rebooted')
      await viewer.untilPrinted(bench.subject.greeting ?? '')
      assert.equal((await bench.expectState(uuid, 'running')).id, id)
    },
  },
  {
    name: 'events tell a life in order',
    needs: [...runs, 'domains.suspend', 'domains.resume', 'domains.undefine'],
    async run(bench) {
      const events = bench.listen()
      const { uuid } = await bench.started()
      await bench.domains.suspend(uuid)
      await bench.domains.resume(uuid)
      await bench.domains.destroy(uuid)
      await bench.domains.undefine(uuid)
      await events.until(uuid, 'undefined')
      const life = ['defined', 'started', 'suspended', 'resumed', 'stopped', 'undefined']
      assert.deepEqual(events.types(uuid), life)
      assert.ok(events.seen.every(({ name, driver, time }) => name && driver && time))
    },
  },
  {
    name: 'what needs a running domain refuses one that is shut off',
    needs: ['domains.define'],
    async run(bench) {
      const { uuid, name } = await bench.define()
      const before = await bench.domains.get(uuid)
      for (const [method, options] of ofRunning) {
        if (!bench.has(`domains.${method}` as OperationName)) continue
        const error = await refused('invalid-state', call(bench.domains, method, uuid, options))
        assert.ok(error.message.includes(name), `${method}: the message names the domain: ${error.message}`)
        assert.ok(error.remedy, `${method}: the error has a remedy`)
      }
      assert.deepEqual(await bench.domains.get(uuid), before)
    },
  },
  {
    name: 'every operation on a domain says not-found when there is none',
    async run(bench) {
      for (const { name, part, method, operation } of operationList) {
        if (part !== 'domains' || operation.key !== 'domain' || !bench.has(name)) continue
        const options = leastOptions(operation.options)
        for (const domain of [nobody, bench.newName()])
          await refused('not-found', call(bench.domains, method, domain, options))
      }
      if (bench.has('domains.stats')) await refused('not-found', bench.domains.stats({ domains: [nobody] }))
    },
  },
]

/** Options with what must be given, and nothing else. */
function leastOptions(options: s.Schema | undefined): object {
  return (options ? leastValue(options) : {}) as object
}

function leastValue(schema: s.Schema): unknown {
  const known = described(schema)
  switch (known.kind) {
    case 'object': {
      const needed = Object.entries(known.fields).filter(
        ([, { options }]) => !options.optional && options.default === undefined,
      )
      return Object.fromEntries(needed.map(([name, field]) => [name, leastValue(field)]))
    }
    case 'array':
      return [leastValue(known.item)]
    case 'boolean':
      return true
    case 'integer':
    case 'size':
      return known.options.min ?? 1
    case 'choice':
      return known.values[0]
    default:
      return '/nosuch'
  }
}

/** One call whose method is known at run time only. */
function call(domains: object, method: string, domain: string, options: object = {}): Promise<unknown> {
  const methods = domains as Record<string, (domain: string, options: object) => Promise<unknown>>
  return methods[method]?.(domain, options) ?? Promise.resolve()
}
