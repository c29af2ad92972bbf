import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { guard, memoryStore, silentLog } from '../driver/index.ts'
import { loadDriver } from '../drivers/index.ts'
import type { Capabilities, Image } from '../model/index.ts'
import { chooseDriver, defineGuest, showUntilPrompt } from './first-guest.ts'
import { parseFlags } from './flags.ts'
import { createPhases } from './phases.ts'
import { findPlace } from './place.ts'

const capable = (driver: string, arch: string, ...domainTypes: string[]): Capabilities => ({
  driver,
  kind: 'full',
  hosting: 'hosted',
  guests: [{ arch, osType: 'hvm', domainTypes, machines: [], cpuModels: [] }],
  notes: [],
})
const absent = (driver: string): Capabilities => ({
  driver,
  kind: 'full',
  hosting: 'hosted',
  guests: [],
  notes: ['Cannot be used on this host: there is no program.'],
})
const image = {
  name: 'micro',
  arch: 'x86_64',
  kernel: '/k',
  initrd: '/i',
  commandLine: 'console=ttyS0',
  hostnameParameter: 'visor.hostname',
} as Image

describe('first guest', () => {
  it('takes the best driver there is, and tells why not another', () => {
    const both = [capable('qemu', 'x86_64', 'kvm', 'qemu'), capable('v86', 'i686', 'v86')]
    assert.equal(chooseDriver(both, 'auto').type, 'kvm')
    assert.equal(chooseDriver(both, 'v86').type, 'v86')
    const { type, remark } = chooseDriver([absent('qemu'), capable('v86', 'i686', 'v86')], 'auto')
    assert.equal(type, 'v86')
    assert.match(remark, /there is no program/)
    assert.throws(() => chooseDriver([absent('qemu')], 'qemu'), {
      code: 'unavailable',
      message: /there is no program/,
    })
    assert.throws(() => chooseDriver([], 'auto'), { code: 'unavailable' })
  })

  it('is a definition that visor takes', async () => {
    const place = { stateDirectory: '/none', runtimeDirectory: '/none', store: memoryStore(), log: silentLog }
    const connection = guard(await (await loadDriver('test')).open(new URL('test:///empty'), place))
    for (const driver of ['qemu', 'v86'] as const) {
      const definition = defineGuest({ driver, type: 'test', remark: '' }, image)
      await connection.domains.define({ ...definition, name: driver })
      const { os } = await connection.domains.describe(driver)
      assert.deepEqual([os.kernel, os.commandLine], ['/k', 'console=ttyS0 visor.hostname=first'])
    }
    await connection.close()
  })

  const console = (...texts: string[]) => {
    let closed = false
    return {
      isClosed: () => closed,
      async write() {},
      async close() {
        closed = true
      },
      async *[Symbol.asyncIterator]() {
        for (const text of texts) yield Buffer.from(text)
        while (!closed && texts.at(-1) !== 'END') await new Promise((resolve) => setImmediate(resolve))
      },
    }
  }
  const watch = async (stream: ReturnType<typeof console>, signal = new AbortController().signal) => {
    let shown = ''
    await showUntilPrompt(stream, (bytes) => (shown += Buffer.from(bytes).toString()), {
      signal,
      timeoutMs: 5000,
    })
    return shown
  }

  it('is shown until its shell waits, however the bytes come', async () => {
    const text = ['Linux\r\n# not yet\r\n', 'banner\r\nfi', 'rst:', '~#', ' ']
    assert.equal(await watch(console(...text)), text.join(''))
    assert.equal(await watch(console('first:~# ')), 'first:~# ')
    assert.equal(await watch(console('\r\nfirst:/# \x1b[6n')), '\r\nfirst:/# \x1b[6n')
    const kept = console('first:~# ')
    await watch(kept)
    assert.ok(kept.isClosed())
  })

  it('fails when its console ends, or when it is given up', async () => {
    await assert.rejects(watch(console('Kernel panic', 'END')), { code: 'failed' })
    const stop = new AbortController()
    const waiting = watch(console('booting'), stop.signal)
    stop.abort()
    await assert.rejects(waiting, { code: 'cancelled' })
  })
})

describe('first run', () => {
  it('keeps to the checkout unless it is told otherwise', () => {
    const place = findPlace({})
    assert.match(place.directories.state, /\.visor\/state$/)
    assert.ok(Buffer.byteLength(place.directories.runtime) < 52)
    const named = findPlace({ stateDir: '/s', runtimeDir: '/r' })
    assert.deepEqual(
      [named.directories.state, named.directories.runtime, named.logFile],
      ['/s', '/r', '/s/visord.log'],
    )
  })

  it('knows its flags', () => {
    assert.equal(parseFlags(['--driver=v86'], {}).driver, 'v86')
    assert.equal(parseFlags([], {}).driver, 'auto')
    assert.equal(parseFlags([], { VISOR_STATE_DIR: '/s' }).stateDir, '/s')
    for (const wrong of [['--driver', 'xen'], ['--nonsense'], ['extra']])
      assert.throws(() => parseFlags(wrong, {}), { code: 'invalid-argument' })
  })

  it('tells how long each phase took', async () => {
    let now = 0
    let text = ''
    const phases = createPhases(
      (more) => {
        text += more
      },
      () => now,
    )
    await phases.run('one', async (tell) => {
      now += 1500
      tell('cached')
    })
    await phases.run('second', async () => {
      now += 250
    })
    assert.match(text, /==> one\n {4}done in 1\.50 s \(cached\)\n/)
    assert.equal(phases.summary(), '  one        1.50 s  cached\n  second     0.25 s\n  total      1.75 s\n')
  })
})
