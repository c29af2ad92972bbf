import assert from 'node:assert/strict'
import { refused, until } from './bench.ts'
import type { Case } from './conform.ts'

const runs = ['domains.define', 'domains.start', 'domains.destroy'] as const

export const persistenceCases: readonly Case[] = [
  {
    name: 'definitions, autostart and undefinition outlive the connection',
    needs: ['domains.define', 'domains.undefine', 'domains.setAutostart'],
    wants: ['persists'],
    async run(bench) {
      const [kept, gone] = [await bench.define(), await bench.define()]
      await bench.domains.setAutostart(kept.uuid, { enabled: true })
      await bench.domains.undefine(gone.uuid)
      const before = await bench.domains.describe(kept.uuid)
      await bench.reopen()
      assert.deepEqual(await bench.domains.describe(kept.uuid), before)
      assert.deepEqual(await bench.domains.get(kept.name), { ...kept, autostart: true })
      await refused('not-found', bench.domains.get(gone.uuid))
    },
  },
  {
    name: 'a saved state outlives the connection',
    needs: [...runs, 'domains.save'],
    wants: ['persists'],
    async run(bench) {
      const { uuid } = await bench.started()
      await bench.domains.save(uuid)
      await bench.reopen()
      assert.equal((await bench.expectState(uuid, 'shutoff')).saved, true)
      await bench.domains.start(uuid)
      assert.equal((await bench.expectState(uuid, 'running', 'restored')).saved, false)
    },
  },
  {
    name: 'guests run on without the connection, and are found again as they are',
    needs: runs,
    wants: ['persists'],
    async run(bench) {
      const before = await bench.started()
      const paused = bench.has('domains.suspend') ? await bench.started({ paused: true }) : undefined
      const running = await bench.domains.describe(before.uuid)
      await bench.reopen()
      const after = await bench.expectState(before.uuid, 'running')
      const { id, pid, startedAt } = after
      assert.deepEqual({ pid, startedAt }, { pid: before.pid, startedAt: before.startedAt })
      assert.ok(Number.isInteger(id))
      assert.deepEqual(await bench.domains.describe(before.uuid), running)
      if (paused) await bench.expectState(paused.uuid, 'paused')
      await refused('invalid-state', bench.domains.start(before.uuid))
      const events = bench.listen()
      await bench.domains.destroy(before.uuid)
      await bench.expectState(before.uuid, 'shutoff', 'destroyed')
      await events.until(before.uuid, 'stopped')
    },
  },
  {
    name: 'the console of a guest that was found again works, with what it printed before',
    needs: [...runs, 'domains.openConsole'],
    wants: ['persists', 'greeting', 'echo'],
    async run(bench) {
      const { greeting = '', echo = { type: '', back: '' } } = bench.subject
      const { uuid } = await bench.started()
      const first = await bench.openConsole(uuid, { scrollback: true })
      await first.untilPrinted(greeting)
      await bench.reopen()
      await first.ended
      const second = await bench.openConsole(uuid, { scrollback: true })
      await second.untilPrinted(greeting)
      await second.type(echo.type)
      await second.untilPrinted(echo.back)
    },
  },
  {
    name: 'a definition changed while the guest runs waits for the next start over a re-open',
    needs: runs,
    wants: ['persists'],
    async run(bench) {
      const { uuid, name, maxMemoryKiB } = await bench.started()
      const definition = bench.subject.makeDefinition(name)
      await bench.domains.define({ ...definition, title: 'later' })
      await bench.reopen()
      assert.equal((await bench.domains.describe(uuid)).title, undefined)
      assert.equal((await bench.domains.describe(uuid, { inactive: true })).title, 'later')
      assert.equal((await bench.domains.get(uuid)).maxMemoryKiB, maxMemoryKiB)
    },
  },
  {
    name: 'a guest that died is shut off and tells so, and can be started again',
    needs: runs,
    wants: ['kill'],
    async run(bench) {
      const events = bench.listen()
      const domain = await bench.started()
      await bench.subject.kill?.(domain)
      await events.until(domain.uuid, 'stopped')
      const { reason } = await bench.untilState(domain.uuid, 'shutoff')
      assert.ok(reason === 'crashed' || reason === 'failed', `It stopped for the reason ${reason}.`)
      await bench.domains.start(domain.uuid)
      await bench.expectState(domain.uuid, 'running')
    },
  },
  {
    name: 'a guest that died while nobody looked is shut off, and can be started again',
    needs: runs,
    wants: ['persists', 'kill'],
    async run(bench) {
      const domain = await bench.started()
      await bench.reopen(async () => bench.subject.kill?.(domain))
      await until('the end of the guest', async () => {
        const { state } = await bench.domains.get(domain.uuid)
        return state === 'shutoff' || undefined
      })
      await bench.domains.start(domain.uuid)
      await bench.expectState(domain.uuid, 'running')
    },
  },
]
