/** What `npm start` does, with the sources: a guest boots to its shell, and Ctrl-C leaves nothing. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { connect } from '../../src/connect/index.ts'
import { missing } from '../fixtures/machines.ts'

const program = resolve(import.meta.dirname, '../../src/first-run/main.ts')

describe('first run', () => {
  let directory: string
  const left: ChildProcess[] = []
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-first-'))
  })
  after(async () => {
    for (const child of left) if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    await rm(directory, { recursive: true })
  })

  function start(...flags: readonly string[]) {
    const places = ['--state-dir', join(directory, 'state'), '--runtime-dir', join(directory, 'run')]
    const child = spawn(process.execPath, [program, ...places, '--listen', '127.0.0.1:0', ...flags], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    left.push(child)
    let output = ''
    child.stdout.on('data', (chunk) => {
      output += chunk
    })
    const ended = once(child, 'close').then(([code]) => code)
    return {
      child,
      ended,
      output: () => output,
      async until(pattern: RegExp) {
        while (!pattern.test(output)) {
          assert.equal(child.exitCode, null, `it ended with:\n${output}`)
          await Promise.race([once(child.stdout, 'data'), ended])
        }
      },
    }
  }

  const socket = () => join(directory, 'run/visord.sock')

  for (const driver of ['v86', 'qemu'] as const)
    it(`boots a guest of ${driver} and stops it all`, { skip: missing(driver) }, async () => {
      const first = start('--driver', driver)
      await first.until(/Ctrl-C stops/u)
      assert.match(first.output(), /visor micro guest 'first'/u)
      assert.match(first.output(), /boot to the shell +[\d.]+ s/u)
      const connection = await connect(`unix://${socket()}`)
      const domain = await connection.domains.get('first')
      assert.deepEqual([domain.state, domain.driver], ['running', driver])
      await connection.close()
      first.child.kill('SIGINT')
      assert.equal(await first.ended, 0)
      assert.ok(!existsSync(socket()))
      assert.ok(domain.pid !== undefined && !(await isThere(domain.pid)), 'the guest is gone')

      const second = start('--driver', driver, '--once')
      assert.equal(await second.ended, 0)
      assert.match(second.output(), /guest image .* cached/u)
      assert.ok(!existsSync(socket()))
    })

  it('ends in good order when it is stopped while it starts', { skip: missing('v86') }, async () => {
    const run = start('--driver', 'v86')
    await run.until(/==> boot to the shell/u)
    run.child.kill('SIGTERM')
    assert.equal(await run.ended, 130)
    assert.ok(!existsSync(socket()))
  })

  it('is there once', { skip: missing('v86') }, async () => {
    const first = start('--driver', 'v86')
    await first.until(/==> guest image/u)
    const second = start('--driver', 'v86')
    assert.equal(await second.ended, 1)
    first.child.kill('SIGINT')
    await first.ended
  })
})

async function isThere(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat !== '' && !/\) [ZX] /u.test(stat)
}
