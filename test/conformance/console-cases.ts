import assert from 'node:assert/strict'
import { refused, until } from './bench.ts'
import type { Case } from './conform.ts'

const consoles = ['domains.define', 'domains.start', 'domains.destroy', 'domains.openConsole'] as const

export const consoleCases: readonly Case[] = [
  {
    name: 'the console carries bytes both ways',
    needs: consoles,
    wants: ['greeting', 'echo'],
    async run(bench) {
      const { greeting = '', echo = { type: '', back: '' } } = bench.subject
      const { uuid } = await bench.started()
      const viewer = await bench.openConsole(uuid, { scrollback: true })
      await viewer.untilPrinted(greeting)
      await viewer.type(echo.type)
      await viewer.untilPrinted(echo.back)
    },
  },
  {
    name: 'several viewers see the same, and one that leaves does not disturb the others',
    needs: consoles,
    wants: ['greeting', 'echo'],
    async run(bench) {
      const { greeting = '', echo = { type: '', back: '' } } = bench.subject
      const { uuid } = await bench.started()
      const [first, second] = [
        await bench.openConsole(uuid, { scrollback: true }),
        await bench.openConsole(uuid, { scrollback: true }),
      ]
      for (const viewer of [first, second]) await viewer.untilPrinted(greeting)
      await first.type(echo.type)
      for (const viewer of [first, second]) await viewer.untilPrinted(echo.back)
      await first.close()
      await second.type(echo.type)
      await until('the echo again', async () => second.text.split(echo.back).length > 2 || undefined)
    },
  },
  {
    name: 'scrollback is only for those who ask, and survives that nobody looked',
    needs: [...consoles, 'domains.consoleLog'],
    wants: ['greeting'],
    async run(bench) {
      const { greeting = '' } = bench.subject
      const { uuid } = await bench.started()
      await until('the greeting in the log', async () => {
        const log = Buffer.from(await bench.domains.consoleLog(uuid)).toString('latin1')
        return log.includes(greeting) || undefined
      })
      const late = await bench.openConsole(uuid, { scrollback: true })
      await late.untilPrinted(greeting)
      const fresh = await bench.openConsole(uuid)
      await fresh.close()
      assert.ok(!fresh.text.includes(greeting))
      const tail = await bench.domains.consoleLog(uuid, { maxBytes: 4 })
      assert.equal(tail.length, 4)
      assert.equal((await bench.domains.consoleLog(uuid, { maxBytes: 0 })).length, 0)
    },
  },
  {
    name: 'a console ends with its machine, and can be closed twice',
    needs: consoles,
    async run(bench) {
      const { uuid } = await bench.started()
      const viewer = await bench.openConsole(uuid)
      await bench.domains.destroy(uuid)
      await viewer.ended
      await viewer.close()
      await viewer.close()
    },
  },
  {
    name: 'a console that is not there is refused',
    needs: consoles,
    async run(bench) {
      const { uuid } = await bench.started()
      await refused('invalid-argument', bench.domains.openConsole(uuid, { device: 'no-such-device' }))
    },
  },
]
