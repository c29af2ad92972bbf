/**
 * Migration between two real visords: a guest that counts goes on counting, on the other one; and whatever fails, it
 * runs in one place at most, and in exactly one where its source was fine.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, writeFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import type { ByteStream, CompleteConnection, MigrateOptions } from '../../src/driver/index.ts'
import { testDefinition, writeTestDisk } from '../../src/drivers/qemu/testing/test-guest.ts'
import { restSocket } from '../../src/host/index.ts'
import { VisorError } from '../../src/model/index.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

const skip = spawnSync('qemu-system-x86_64', ['--version']).error
  ? 'qemu-system-x86_64 is not installed'
  : false
const noSmallPlace = process.getuid?.() === 0 ? false : 'only root can mount a small file system'
const patienceMs = 60_000
const code = (expected: string) => (error: unknown) => error instanceof VisorError && error.code === expected

describe('migration', { skip }, () => {
  let directory = ''
  let boot = ''
  let source: Visord
  let target: Visord
  let here: CompleteConnection
  let there: CompleteConnection
  let to = ''

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-migration-'))
    await chmod(directory, 0o755)
    boot = join(directory, 'boot.raw')
    await writeTestDisk(boot)
    await mkdir(join(directory, 'there'))
    const config = join(directory, 'visord.yaml')
    await writeFile(config, 'migration: { insistSeconds: 2 }\n')
    const options = { drivers: ['qemu'], arguments: ['--config', config] }
    ;[source, target] = (await Promise.all([0, 1].map(() => startVisord(options)))) as [Visord, Visord]
    ;[here, there] = await Promise.all([source.connect(), target.connect()])
    to = `unix://${restSocket(target.directories)}`
  })
  after(async () => {
    await here?.close()
    await there?.close()
    await source?.dispose()
    await target?.dispose()
    await rm(directory, { recursive: true, force: true })
  })
  afterEach(async () => {
    for (const { domains } of [here, there])
      for (const { uuid, state } of await domains.list()) {
        if (state !== 'shutoff') await domains.destroy(uuid)
        await domains.undefine(uuid, { snapshots: true })
      }
  })

  /** A guest that runs, and its console. */
  async function started(name: string, disks: object[] = []): Promise<{ uuid: string; console: ByteStream }> {
    const definition = testDefinition(name, boot, {
      disks: [{ file: boot, target: 'vda', readonly: true }, ...(disks as [])],
    })
    const { uuid } = await here.domains.define(definition)
    await here.domains.start(uuid)
    const console = await here.domains.openConsole(uuid, { scrollback: true })
    await heard(console, 'ready')
    return { uuid, console }
  }

  async function heard(console: ByteStream, text: string): Promise<string> {
    let seen = ''
    for await (const chunk of console) {
      seen += Buffer.from(chunk).toString('latin1')
      if (seen.includes(text)) return seen
    }
    throw new Error(`The console ended before '${text}' in: ${seen}`)
  }

  /** What the guest answers to a letter: how many it has had since it was booted. */
  async function ask(
    { domains }: CompleteConnection,
    uuid: string,
    letter: string,
    count: string,
  ): Promise<void> {
    const console = await domains.openConsole(uuid)
    await console.write(Buffer.from(letter))
    await heard(console, `:${count}${letter}`)
    await console.close()
  }

  async function state({ domains }: CompleteConnection, uuid: string): Promise<string> {
    const found = (await domains.list()).find((domain) => domain.uuid === uuid)
    return found ? `${found.state} ${found.reason}` : 'absent'
  }

  /** It runs here, and nothing of it is there. */
  async function stayed(uuid: string): Promise<void> {
    assert.match(await state(here, uuid), /^running/u)
    await until(async () => (await there.migrations.list()).length === 0 && processes(uuid).length === 1)
    assert.equal(await state(there, uuid), 'absent')
  }

  const migrate = (uuid: string, options: Partial<MigrateOptions> = {}) =>
    here.domains.migrate(uuid, { to, ...options })

  test('a guest goes on counting at the other host', async () => {
    const { uuid } = await started('counts')
    await ask(here, uuid, 'a', '0001')
    const summary = await migrate(uuid)
    assert.ok(summary.downtimeMs <= summary.totalMs && !summary.postcopy)
    assert.equal(await state(here, uuid), 'shutoff migrated')
    assert.equal(await state(there, uuid), 'running migrated')
    assert.equal(processes(uuid).length, 1)
    await ask(there, uuid, 'b', '0002')
  })

  test('and back again, forgotten where it came from', async () => {
    const { uuid } = await started('returns')
    await migrate(uuid, { undefineSource: true, name: 'renamed' })
    assert.equal(await state(here, uuid), 'absent')
    assert.equal((await there.domains.get(uuid)).name, 'renamed')
    await ask(there, uuid, 'a', '0001')
    await there.domains.migrate(uuid, { to: `unix://${restSocket(source.directories)}`, transport: 'tcp' })
    await ask(here, uuid, 'b', '0002')
    assert.equal(await state(there, uuid), 'shutoff migrated')
  })

  for (const [what, options] of Object.entries({
    'over several connections, compressed': { compression: 'zlib', parallel: 3, transport: 'tcp' },
    'with xbzrle, slowed down': { compression: 'xbzrle', autoConverge: true, maxDowntimeMs: 100 },
    'with a time limit that stops it': { bandwidthMiBps: 1, timeoutMs: 100, timeoutAction: 'suspend' },
  } satisfies Record<string, Partial<MigrateOptions>>))
    test(what, async () => {
      const { uuid } = await started('varied')
      await ask(here, uuid, 'a', '0001')
      await migrate(uuid, options)
      await ask(there, uuid, 'b', '0002')
    })

  test('a guest that is paused stays so; one that shall be is', async () => {
    const first = await started('paused')
    await here.domains.suspend(first.uuid)
    await migrate(first.uuid)
    const second = await started('to-be-paused')
    await migrate(second.uuid, { paused: true })
    for (const { uuid } of [first, second]) {
      assert.equal(await state(there, uuid), 'paused migrated')
      await there.domains.resume(uuid)
      await ask(there, uuid, 'a', '0001')
    }
  })

  test('a definition alone moves while the guest is off', async () => {
    const { uuid } = await here.domains.define(testDefinition('off', boot))
    await migrate(uuid, { offline: true, undefineSource: true })
    assert.equal(await state(here, uuid), 'absent')
    assert.match(await state(there, uuid), /^shutoff/u)
  })

  /** Disks with something on them, of 32 MiB. */
  async function makeDisks(name: string): Promise<{ files: string[]; disks: object[]; content: Buffer }> {
    const content = randomBytes(32 << 20)
    // It looks like an image, and is none.
    content.write('QFI\xfb\0\0\0\x03', 'latin1')
    const raw = join(directory, `${name}.raw`)
    const qcow = join(directory, `${name}.qcow2`)
    await writeFile(raw, content)
    execFileSync('qemu-img', ['convert', '-O', 'qcow2', '-f', 'raw', raw, qcow])
    const disks = [
      { file: raw, target: 'vdb' },
      { file: qcow, format: 'qcow2', target: 'vdc' },
    ]
    return { files: [`${name}.raw`, `${name}.qcow2`], disks, content }
  }
  const copied = (name: string) => join(directory, 'there', name)
  const copyAll = () => ({ copyStorage: 'all', copyTo: join(directory, 'there') }) as const

  test('disks go along', async () => {
    const { files, disks, content } = await makeDisks('along')
    const { uuid } = await started('along', disks)
    const summary = await migrate(uuid, { ...copyAll(), transport: 'tcp' })
    assert.ok((summary.diskBytes ?? 0) >= 2 * content.length)
    await ask(there, uuid, 'a', '0001')
    const { devices } = await there.domains.describe(uuid)
    assert.deepEqual(
      devices.disks.slice(1).map(({ file }) => file),
      files.map(copied),
    )
    await there.domains.destroy(uuid)
    assert.ok((await readFile(copied('along.raw'))).equals(content))
    execFileSync('qemu-img', [
      'compare',
      '-f',
      'qcow2',
      '-F',
      'raw',
      copied('along.qcow2'),
      copied('along.raw'),
    ])
    await Promise.all(files.map((file) => rm(copied(file))))
  })

  test('an encrypted disk goes along, and is as encrypted there', async () => {
    const [key, file, content] = ['key', 'sealed.raw', 'plain.raw'].map((name) => join(directory, name))
    assert.ok(key && file && content)
    await writeFile(key, 'open sesame', { mode: 0o600 })
    await writeFile(content, randomBytes(4 << 20))
    const secret = ['--object', `secret,id=s,file=${key}`]
    const image = (path: string) => `driver=luks,key-secret=s,file.filename=${path}`
    const quick = ['-o', 'key-secret=s,iter-time=100']
    // How long the key takes is measured by processor time, of which a busy host may tell none.
    await until(async () => {
      const { status, stderr } = spawnSync(
        'qemu-img',
        ['convert', '-q', ...secret, '-O', 'luks', ...quick, '-f', 'raw', content, file],
        { encoding: 'utf8' },
      )
      assert.ok(status === 0 || /accurate CPU usage/u.test(stderr), stderr)
      return status === 0
    })
    const encryption = { format: 'luks', secrets: [{ type: 'passphrase', file: key }] }
    const { uuid } = await started('sealed', [{ file, format: 'raw', target: 'vdb', encryption }])
    await rename(key, `${key}.away`)
    await assert.rejects(migrate(uuid, copyAll()), /no file '.*key' with the key of the disk 'vdb'/u)
    await rename(`${key}.away`, key)
    await stayed(uuid)
    await migrate(uuid, copyAll())
    await ask(there, uuid, 'a', '0001')
    await there.domains.destroy(uuid)
    const copy = copied('sealed.raw')
    execFileSync('qemu-img', [
      ...['compare', ...secret, '--image-opts', image(copy), `driver=raw,file.filename=${content}`],
    ])
    await rm(copy)
  })

  test('what is above a base goes along, and finds the base there', async () => {
    const base = join(directory, 'base.raw')
    const top = join(directory, 'top.qcow2')
    const content = randomBytes(8 << 20)
    await writeFile(base, content)
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', base, top])
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x5a 1M 64k', top])
    content.fill(0x5a, 1 << 20, (1 << 20) + (64 << 10))
    const { uuid } = await started('above', [{ file: top, format: 'qcow2', target: 'vdb' }])
    await migrate(uuid, { copyStorage: 'inc', copyTo: join(directory, 'there') })
    await there.domains.destroy(uuid)
    assert.ok((await stat(copied('top.qcow2'))).size < 2 << 20)
    const whole = join(directory, 'whole.raw')
    execFileSync('qemu-img', ['convert', '-O', 'raw', copied('top.qcow2'), whole])
    assert.ok((await readFile(whole)).equals(content))
  })

  test('what was plugged in, and what is above a snapshot, goes along', async () => {
    const { disks, content } = await makeDisks('plugged')
    const { uuid } = await started('plugged', disks.slice(1))
    const file = join(directory, 'plugged.raw')
    await here.domains.attachDevice(uuid, { device: { disks: [{ file, target: 'vdb' }] } })
    await here.snapshots.create(uuid, { name: 'before', diskOnly: true, disks: ['vdc'] })
    await migrate(uuid, copyAll())
    await ask(there, uuid, 'a', '0001')
    const { devices } = await there.domains.describe(uuid)
    await there.domains.destroy(uuid)
    for (const { file = '', format } of devices.disks.filter(({ readonly }) => !readonly)) {
      const whole = join(directory, 'plugged-whole.raw')
      execFileSync('qemu-img', ['convert', '-f', format, '-O', 'raw', file, whole])
      assert.ok((await readFile(whole)).equals(content))
    }
    await rm(join(directory, 'there'), { recursive: true })
    await mkdir(join(directory, 'there'))
  })

  test('given up midway, it goes on, and nothing is left', async () => {
    const { files, disks } = await makeDisks('midway')
    const { uuid } = await started('midway', disks)
    const abort = new AbortController()
    const moving = migrate(uuid, {
      ...{ ...copyAll(), bandwidthMiBps: 1, signal: abort.signal },
      progress: ({ phase, done = 0 }) => {
        if (phase === 'copying disks' && done > 0) abort.abort()
      },
    })
    await assert.rejects(moving, code('cancelled'))
    await stayed(uuid)
    await ask(here, uuid, 'a', '0001')
    for (const file of files) assert.equal(await stat(copied(file)).catch(() => undefined), undefined)
    // And now for good.
    await migrate(uuid, copyAll())
    await ask(there, uuid, 'b', '0002')
    await Promise.all(files.map((file) => rm(copied(file))))
  })

  test('what cannot be is refused before anything happens', async () => {
    const { files, disks } = await makeDisks('refused')
    const { uuid } = await started('refused', disks)
    const refused = async (options: Partial<MigrateOptions>, expected: string, message: RegExp) => {
      await assert.rejects(migrate(uuid, options), (error) => {
        assert.ok(error instanceof VisorError)
        assert.match(error.message, message)
        assert.equal(error.code, expected)
        return true
      })
      await stayed(uuid)
    }
    await writeFile(copied(files[0] ?? ''), 'precious')
    await refused(copyAll(), 'already-exists', /There is already a file/u)
    assert.equal(await readFile(copied(files[0] ?? ''), 'utf8'), 'precious')
    await rm(copied(files[0] ?? ''))
    await refused({ copyStorage: 'all', copyTo: '/nowhere/at/all' }, 'not-found', /no folder/u)
    await refused({ disks: [{ target: 'vdb', file: boot }] }, 'unsupported-config', /is not shared/u)
    await refused({ disks: [{ target: 'vdz' }] }, 'not-found', /no disk 'vdz'/u)
    await refused({ to: 'unix:///nowhere.sock' }, 'unavailable', /No visord answers/u)
    await refused({ to: 'http://127.0.0.1:9' }, 'unavailable', /./u)
    await refused({ to: `unix://${restSocket(source.directories)}` }, 'invalid-state', /already/u)
    await refused({ transport: 'tcp', address: '192.0.2.1' }, 'unavailable', /cannot listen/u)
    await refused({ tls: true }, 'unsupported-config', /certificate/u)
    await refused({ copyTo: '/tmp' }, 'invalid-argument', /copyStorage is none/u)
    await there.domains.define(testDefinition('refused', boot))
    await assert.rejects(migrate(uuid), code('already-exists'))
    await ask(here, uuid, 'a', '0001')
  })

  test('a disk that does not fit at the other host leaves the guest where it is', {
    skip: noSmallPlace,
  }, async () => {
    const small = join(directory, 'small')
    await mkdir(small)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', small])
    try {
      const { disks } = await makeDisks('full')
      const { uuid } = await started('full', disks)
      await assert.rejects(migrate(uuid, { copyStorage: 'all', copyTo: small }), /need \d+ MiB/u)
      await stayed(uuid)
      // A file that grows meanwhile: the room is gone when the copy wants it.
      const moving = migrate(uuid, {
        ...{ copyStorage: 'all', copyTo: small, disks: [{ target: 'vdb' }], bandwidthMiBps: 8 },
        progress: ({ phase }) => {
          if (phase === 'copying disks' && !existsSync(join(small, 'filler')))
            writeFileSync(join(small, 'filler'), Buffer.alloc(20 << 20))
        },
      })
      await assert.rejects(moving, code('failed'))
      await stayed(uuid)
      await ask(here, uuid, 'a', '0001')
      assert.deepEqual(await readdir(small), ['filler'])
    } finally {
      await here.domains.destroy('full').catch(() => {})
      execFileSync('umount', [small])
    }
  })

  /** Begins a migration that takes long; resolves when its disks are being copied. */
  async function underWay(name: string, disks: object[]) {
    const { uuid } = await started(name, disks)
    const begun = Promise.withResolvers<void>()
    const moving = migrate(uuid, {
      ...{ ...copyAll(), bandwidthMiBps: 1 },
      progress: ({ phase, done = 0 }) => {
        if (phase === 'copying disks' && done > 0) begun.resolve()
      },
    })
    moving.catch(begun.reject)
    await begun.promise
    return { uuid, moving }
  }

  test('kill -9 of the QEMU there: it goes on here', async () => {
    const { disks } = await makeDisks('kill-there')
    const { uuid, moving } = await underWay('kill-there', disks)
    const [own] = [(await here.domains.get(uuid)).pid]
    for (const pid of processes(uuid)) if (pid !== own) process.kill(pid, 'SIGKILL')
    await assert.rejects(moving, code('failed'))
    await stayed(uuid)
    await ask(here, uuid, 'a', '0001')
  })

  test('kill -9 of the QEMU here: it is gone, and nothing is left there', async () => {
    const { files, disks } = await makeDisks('kill-here')
    const { uuid, moving } = await underWay('kill-here', disks)
    process.kill((await here.domains.get(uuid)).pid ?? 0, 'SIGKILL')
    await assert.rejects(moving, /ended while it was migrated/u)
    await until(async () => processes(uuid).length === 0 && (await there.migrations.list()).length === 0)
    assert.match(await state(here, uuid), /^shutoff crashed/u)
    for (const file of files) assert.equal(await stat(copied(file)).catch(() => undefined), undefined)
  })

  test('kill -9 of the visord there: it goes on here, and the next one there clears up', async () => {
    const { files, disks } = await makeDisks('visord-there')
    const { uuid, moving } = await underWay('visord-there', disks)
    await target.kill()
    await here.jobs
      .list()
      .then((jobs) =>
        Promise.all(jobs.filter(({ endedAt }) => !endedAt).map(({ id }) => here.jobs.cancel(id))),
      )
    await assert.rejects(moving, VisorError)
    await target.start()
    there = await target.connect()
    await stayed(uuid)
    await ask(here, uuid, 'a', '0001')
    for (const file of files) assert.equal(await stat(copied(file)).catch(() => undefined), undefined)
  })

  test('kill -9 of the visord here: the next one lets it go on, and clears up there', async () => {
    const { disks } = await makeDisks('visord-here')
    const { uuid, moving } = await underWay('visord-here', disks)
    moving.catch(() => {})
    await source.kill()
    await source.start()
    here = await source.connect()
    await until(async () => (await state(here, uuid)).startsWith('running'))
    await stayed(uuid)
    await ask(here, uuid, 'a', '0001')
    await migrate(uuid, { disks: [] })
    await ask(there, uuid, 'b', '0002')
  })

  /** A migration whose destination has all of the guest, and is not there to be told. */
  async function handedOver(name: string) {
    const { uuid } = await started(name)
    const begun = Promise.withResolvers<void>()
    const moving = migrate(uuid, {
      bandwidthMiBps: 1,
      progress: ({ phase = '' }) => {
        if (phase.startsWith('copying memory')) begun.resolve()
      },
    })
    moving.catch(begun.reject)
    await begun.promise
    process.kill(target.pid, 'SIGSTOP')
    const record = join(source.directories.runtime, 'qemu', uuid, 'record.json')
    await until(async () => (await readFile(record, 'utf8')).includes('"phase":"handed-over"'))
    return { uuid, moving }
  }

  test('kill -9 of the visord there when it is handed over: it was not told, so it goes on here', async () => {
    const { uuid, moving } = await handedOver('doubt-there')
    await target.kill()
    await target.start()
    there = await target.connect()
    await assert.rejects(moving, VisorError)
    await until(async () => (await state(here, uuid)).startsWith('running'))
    await stayed(uuid)
    await ask(here, uuid, 'a', '0001')
  })

  test('while nobody knows where it runs it stands still, and whoever knows decides', async () => {
    const { uuid, moving } = await handedOver('nobody-knows')
    await target.kill()
    await assert.rejects(moving, code('unavailable'))
    assert.equal(await state(here, uuid), 'paused migrating')
    assert.match((await here.domains.get(uuid)).message ?? '', /--settle=here/u)
    await assert.rejects(here.domains.resume(uuid), code('invalid-state'))
    await assert.rejects(here.domains.save(uuid), code('invalid-state'))
    await assert.rejects(here.domains.settleMigration(uuid), code('unavailable'))
    await here.domains.settleMigration(uuid, { outcome: 'here' })
    await ask(here, uuid, 'a', '0001')
    await target.start()
    there = await target.connect()
    await stayed(uuid)
    await assert.rejects(here.domains.settleMigration(uuid), code('invalid-state'))
  })

  test('kill -9 of the visord here when it is handed over: wherever it runs, it is one place', async () => {
    const { uuid, moving } = await handedOver('doubt-here')
    moving.catch(() => {})
    await source.kill()
    process.kill(target.pid, 'SIGCONT')
    await source.start()
    here = await source.connect()
    await until(async () => processes(uuid).length === 1 && !(await state(here, uuid)).startsWith('paused'))
    const isHere = (await state(here, uuid)).startsWith('running')
    assert.match(await state(isHere ? here : there, uuid), /^running/u)
    await ask(isHere ? here : there, uuid, 'a', '0001')
  })
})

/** QEMUs that run a domain, by process id. */
function processes(uuid: string): number[] {
  const found = execFileSync('ps', ['-eo', 'pid=,args='], { encoding: 'latin1' }).split('\n')
  return found
    .filter((line) => line.includes('qemu-system') && line.includes(`-uuid ${uuid}`))
    .map((line) => Number.parseInt(line, 10))
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, 'It did not come about.')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
