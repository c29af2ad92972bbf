/** Schedules as people type them, with a real visord and QEMU. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { findProgram } from '../../src/host/index.ts'
import { type CommandResult, visorCommand } from '../fixtures/visor-command.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

const missing = ['qemu-system-x86_64', 'qemu-img'].map(async (program) =>
  (await findProgram(program)) ? [] : [program],
)
const skip = (await Promise.all(missing)).flat().join(', ')

describe('visor schedule', { skip: skip !== '' && `not installed: ${skip}` }, () => {
  let visord: Visord
  let connection: CompleteConnection
  let visor: (args: readonly string[]) => Promise<CommandResult>
  const succeed = async (...args: string[]) => {
    const result = await visor(args)
    assert.equal(result.code, 0, `visor ${args.join(' ')}: ${result.stderr}${result.stdout}`)
    return result
  }
  const fails = async (wanted: RegExp, ...args: string[]) => {
    const result = await visor(args)
    assert.notEqual(result.code, 0)
    assert.match(result.stderr, wanted)
  }

  before(async () => {
    visord = await startVisord({ drivers: ['qemu'] })
    visor = visorCommand(visord.directories)
    connection = await visord.connect()
    await connection.volumes.create('default', { name: 'web.qcow2', capacityBytes: 2 ** 20 })
    const disks = [
      {
        type: 'volume' as const,
        pool: 'default',
        volume: 'web.qcow2',
        format: 'qcow2' as const,
        target: 'vda',
      },
    ]
    await connection.domains.define({ type: 'qemu', name: 'web', memoryKiB: 32_768, devices: { disks } })
  })
  after(async () => {
    await connection.close()
    await visord.dispose()
  })

  test('is made, shown, done now, paused, and there after kill -9', async () => {
    await fails(/When it is done is not said/u, 'schedule', 'create', 'nightly', 'web')
    await fails(/Either machines are named, or all/u, 'schedule', 'create', 'nightly', '--hourly')
    await fails(/'25:00' is no such time/u, 'schedule', 'create', 'nightly', 'web', '--daily', '25:00')
    await fails(/never comes/u, 'schedule', 'create', 'nightly', 'web', '--cron', '0 0 30 2 *')
    await fails(/no domain 'nobody'/u, 'schedule', 'create', 'nightly', 'nobody', '--hourly')
    await fails(/cannot be used|conflict/u, 'schedule', 'create', 'nightly', 'web', '--hourly', '--daily')
    const made = await succeed(
      ...[
        'schedule',
        'create',
        'nightly',
        'web',
        '--daily',
        '03:30',
        '--keep-daily',
        '7',
        '--keep-within',
        '2w',
      ],
    )
    assert.match(made.stderr, /schedule nightly: next \d{4}-\d\d-\d\d 03:30\n/u)
    assert.match((await succeed('schedule', 'list')).stdout, /^nightly +30 3 \* \* \* +web +\d{4}-/mu)
    const done = await succeed('schedule', 'run', 'nightly')
    assert.match(done.stdout, /web: nightly-\d{8}T\d{6}Z\n/u)
    await connection.close()
    await visord.kill()
    await visord.start()
    connection = await visord.connect()
    const shown = (await succeed('schedule', 'show', 'nightly')).stdout
    assert.match(shown, /keeps +7 daily, all of 336 hours\n/u)
    assert.match(shown, /kept +1\n/u)
    assert.match((await succeed('snapshot', 'list', 'web')).stdout, /nightly-\d{8}T\d{6}Z/u)
    await succeed('schedule', 'pause', 'nightly')
    assert.match((await succeed('schedule', 'list')).stdout, /paused/u)
    assert.match((await succeed('schedule', 'resume', 'nightly')).stderr, /is kept again: next/u)
    await succeed('schedule', 'remove', 'nightly', '--snapshots')
    assert.deepEqual(await connection.snapshots.list('web'), [])
    assert.match((await succeed('schedule', 'list')).stderr, /No schedules/u)
  })

  test('is kept when its time comes', async () => {
    await succeed('schedule', 'create', 'often', '--all', '--cron', '* * * * *', '--keep-last', '1')
    const waiting = AbortSignal.timeout(150_000)
    while (!(await connection.schedules.get('often')).lastRun) {
      waiting.throwIfAborted()
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    const { lastRun } = await connection.schedules.get('often')
    assert.deepEqual(
      lastRun?.results.map(({ message }) => message),
      [undefined],
    )
    await succeed('schedule', 'remove', 'often', '--snapshots')
  })
})
