import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { endsWithUs } from './ends-with-us.ts'

test('a program that is of no use without us ends when we are killed', async (context) => {
  const [first] = await endsWithUs('sleep', ['600'])
  if (first === 'sleep') return context.skip('the setpriv of this system has no --pdeathsig')
  const script = `
    const { spawn } = await import('node:child_process')
    const { endsWithUs } = await import(${JSON.stringify(join(import.meta.dirname, 'ends-with-us.ts'))})
    const [program, ...args] = await endsWithUs('sleep', ['600'])
    console.log(spawn(program, args, { stdio: 'ignore' }).pid)`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [said] = (await once(parent.stdout, 'data')) as [Buffer]
  const pid = Number(said.toString())
  const runs = () =>
    existsSync(`/proc/${pid}/stat`) && !/\) Z/u.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  const deadline = performance.now() + 60_000
  const until = async (wanted: () => boolean) => {
    while (!wanted()) {
      assert.ok(performance.now() < deadline, `Process ${pid} is not as it should be.`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  // It asks for its end after it was made: once it is what it shall be.
  await until(() => readFileSync(`/proc/${pid}/comm`, 'latin1').trim() === 'sleep')
  parent.kill('SIGKILL')
  await until(() => {
    try {
      return !runs()
    } catch {
      return true
    }
  })
})
