import assert from 'node:assert/strict'
import { access, rm, writeFile } from 'node:fs/promises'
import { type Bench, refused } from './bench.ts'
import type { Case } from './conform.ts'

const saves = [
  'domains.define',
  'domains.undefine',
  'domains.start',
  'domains.destroy',
  'domains.save',
  'domains.restore',
] as const

export const savedStateCases: readonly Case[] = [
  {
    name: 'save keeps the state and powers off; the next start goes on from it and uses it up',
    needs: saves,
    async run(bench) {
      const events = bench.listen()
      const { uuid } = await bench.started()
      await bench.domains.save(uuid)
      assert.equal((await bench.expectState(uuid, 'shutoff', 'saved')).saved, true)
      assert.equal((await events.until(uuid, 'stopped')).reason, 'saved')
      await bench.domains.start(uuid)
      assert.equal((await bench.expectState(uuid, 'running', 'restored')).saved, false)
      await bench.domains.destroy(uuid)
      await bench.domains.start(uuid)
      await bench.expectState(uuid, 'running', 'booted')
    },
  },
  {
    name: 'restore goes on from the state that is kept',
    needs: saves,
    async run(bench) {
      const { uuid } = await bench.started()
      await bench.domains.save(uuid)
      await bench.domains.restore(uuid)
      assert.equal((await bench.expectState(uuid, 'running', 'restored')).saved, false)
      await refused('invalid-state', bench.domains.restore(uuid))
      await bench.domains.destroy(uuid)
      await refused('invalid-state', bench.domains.restore(uuid))
    },
  },
  {
    name: 'a guest goes on after restore, not anew',
    needs: [...saves, 'domains.openConsole'],
    wants: ['greeting', 'echo'],
    async run(bench) {
      const { greeting = '', echo = { type: '', back: '' } } = bench.subject
      const { uuid } = await bench.started()
      const before = await bench.openConsole(uuid, { scrollback: true })
      await before.untilPrinted(greeting)
      await bench.domains.save(uuid)
      await before.ended
      await bench.domains.restore(uuid)
      const after = await bench.openConsole(uuid)
      await after.type(echo.type)
      await after.untilPrinted(echo.back)
      assert.ok(!after.text.includes(greeting), 'It did not boot again.')
    },
  },
  {
    name: 'a domain saved paused comes back paused, one saved running when asked so',
    needs: [...saves, 'domains.suspend', 'domains.resume'],
    async run(bench) {
      const { uuid } = await bench.started()
      await bench.domains.suspend(uuid)
      await bench.domains.save(uuid)
      await bench.domains.restore(uuid)
      await bench.expectState(uuid, 'paused')
      await bench.domains.resume(uuid)
      await bench.domains.save(uuid)
      await bench.domains.restore(uuid, { paused: true })
      await bench.expectState(uuid, 'paused')
      await bench.domains.resume(uuid)
      await bench.expectState(uuid, 'running')
    },
  },
  {
    name: 'a saved state can be dropped, by start and by undefine, if one says so',
    needs: saves,
    async run(bench) {
      const { uuid } = await bench.started()
      await bench.domains.save(uuid)
      await bench.domains.start(uuid, { discardSaved: true })
      assert.equal((await bench.expectState(uuid, 'running', 'booted')).saved, false)
      await bench.domains.save(uuid)
      const { remedy } = await refused('invalid-state', bench.domains.undefine(uuid))
      assert.ok(remedy, 'The error has a remedy.')
      assert.equal((await bench.domains.get(uuid)).saved, true)
      await bench.domains.undefine(uuid, { savedState: true })
      await refused('not-found', bench.domains.get(uuid))
    },
  },
  {
    name: 'a state saved to a file is restored from it, as often as wanted',
    needs: saves,
    wants: ['stateFile'],
    async run(bench) {
      const { uuid, name } = await bench.started()
      const file = stateFile(bench, name)
      try {
        await bench.domains.save(uuid, { file })
        await access(file)
        assert.equal((await bench.expectState(uuid, 'shutoff', 'saved')).saved, false)
        for (let round = 0; round < 2; round++) {
          await bench.domains.restore(uuid, { file })
          await bench.expectState(uuid, 'running', 'restored')
          await bench.domains.destroy(uuid)
        }
      } finally {
        await rm(file, { force: true })
      }
    },
  },
  {
    name: 'restore refuses a file that is not there or no state, and leaves the domain shut off',
    needs: saves,
    wants: ['stateFile'],
    async run(bench) {
      const { uuid, name } = await bench.define()
      const file = stateFile(bench, name)
      await assert.rejects(bench.domains.restore(uuid, { file }), isTyped)
      await writeFile(file, 'this is no state')
      try {
        await assert.rejects(bench.domains.restore(uuid, { file }), isTyped)
      } finally {
        await rm(file, { force: true })
      }
      await bench.expectState(uuid, 'shutoff')
      await bench.domains.start(uuid)
      await bench.expectState(uuid, 'running', 'booted')
    },
  },
  {
    name: 'a save that cannot be written leaves the domain running',
    needs: saves,
    wants: ['stateFile'],
    async run(bench) {
      const { uuid, name } = await bench.started()
      const file = stateFile(bench, name)
      await assert.rejects(bench.domains.save(uuid, { file: `${file}/there/is/no/such/directory` }), isTyped)
      assert.equal((await bench.expectState(uuid, 'running')).saved, false)
    },
  },
]

function stateFile({ subject }: Bench, name: string): string {
  return subject.stateFile?.(name) ?? '/nonexistent'
}

/** A VisorError that says what is wrong, not that visor is. */
function isTyped(error: unknown): boolean {
  const { code, message } = error as { code?: string; message: string }
  assert.ok(code && code !== 'internal', `${code}: ${message}`)
  return true
}
