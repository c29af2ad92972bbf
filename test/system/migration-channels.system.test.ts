/**
 * What migration goes over, with real visords: HTTP with a token, TLS with certificates, post-copy; and a Linux guest
 * that writes to its disk and its memory all the while.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { connect as connectSocket, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, afterEach, before, describe, test } from 'node:test'
import type { ByteStream, CompleteConnection } from '../../src/driver/index.ts'
import { testDefinition, writeTestDisk } from '../../src/drivers/qemu/testing/test-guest.ts'
import { restSocket } from '../../src/host/index.ts'
import { DomainDefinition, parse, VisorError } from '../../src/model/index.ts'
import { buildTestImage } from '../../src/storage/testing/test-images.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

const missing = (program: string) => spawnSync(program, ['--version']).error !== undefined
const skip = missing('qemu-system-x86_64') ? 'qemu-system-x86_64 is not installed' : false
const noCertificates =
  spawnSync('openssl', ['version']).status === 0
    ? false
    : 'openssl is not installed, which makes the certificates'
const noRoot = process.getuid?.() === 0 ? false : 'only root can run guests as another user'

describe('channels of migration', { skip }, () => {
  let directory = ''
  let boot = ''
  let source: Visord
  let target: Visord
  let here: CompleteConnection
  let there: CompleteConnection
  let to = ''
  let token = ''

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-migration-'))
    await chmod(directory, 0o755)
    boot = join(directory, 'boot.raw')
    await writeTestDisk(boot)
    await mkdir(join(directory, 'there'))
    await mkdir(join(directory, 'hooks'), { mode: 0o755 })
    await writeFile(
      join(directory, 'visord.yaml'),
      `hooks: ${join(directory, 'hooks')}\nmigration: { certificates: ${join(directory, 'pki')}, ports: { first: 52000, last: 52009 } }\n`,
    )
    const common = { drivers: ['qemu'], arguments: ['--config', join(directory, 'visord.yaml')] }
    const port = await freePort()
    ;[source, target] = await Promise.all([
      startVisord(common),
      startVisord({ ...common, listen: `127.0.0.1:${port}` }),
    ])
    ;[here, there] = await Promise.all([source.connect(), target.connect()])
    to = `http://127.0.0.1:${port}`
    token = (await readFile(join(target.directories.state, 'token'), 'utf8')).trim()
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
        await domains.undefine(uuid)
      }
  })

  async function started(name: string, disks: object[] = []): Promise<string> {
    const definition = testDefinition(name, boot, {
      disks: [{ file: boot, target: 'vda', readonly: true }, ...(disks as [])],
    })
    const { uuid } = await here.domains.define(definition)
    await here.domains.start(uuid)
    const console = await here.domains.openConsole(uuid, { scrollback: true })
    await heard(console, /ready/u)
    await console.close()
    return uuid
  }

  async function ask({ domains }: CompleteConnection, uuid: string, letter: string, count: string) {
    const console = await domains.openConsole(uuid)
    await console.write(Buffer.from(letter))
    await heard(console, new RegExp(`:${count}${letter}`, 'u'))
    await console.close()
  }

  test('over HTTP the other host wants its token', async () => {
    const uuid = await started('token')
    for (const wrong of [undefined, 'nonsense'])
      await assert.rejects(
        here.domains.migrate(uuid, { to, ...(wrong ? { token: wrong } : {}) }),
        (error) => error instanceof VisorError && error.code === 'unauthenticated',
      )
    await ask(here, uuid, 'a', '0001')
    await here.domains.migrate(uuid, { to, token })
    await ask(there, uuid, 'b', '0002')
  })

  test('encrypted, memory and disks', { skip: noCertificates }, async () => {
    const pki = join(directory, 'pki')
    await mkdir(pki)
    const disk = join(directory, 'tls.raw')
    await writeFile(disk, Buffer.alloc(4 << 20, 'tls'))
    const uuid = await started('tls', [{ file: disk, target: 'vdb' }])
    const options = { to, token, tls: true, copyStorage: 'all', copyTo: join(directory, 'there') } as const
    await assert.rejects(here.domains.migrate(uuid, options), /certificate '.*ca-cert.pem'/u)
    makeCertificates(pki, '127.0.0.1')
    await here.domains.migrate(uuid, options)
    await ask(there, uuid, 'a', '0001')
    await there.domains.destroy(uuid)
    assert.ok((await readFile(join(directory, 'there', 'tls.raw'))).equals(await readFile(disk)))
    // A certificate of somebody else.
    const other = await started('tls-other')
    makeCertificates(pki, '192.0.2.1')
    await assert.rejects(here.domains.migrate(other, { to, token, tls: true }), VisorError)
    await ask(here, other, 'a', '0001')
    assert.deepEqual(await there.migrations.list(), [])
  })

  test('what its guest would see stays; the hook there may change the rest, or refuse', async () => {
    const uuid = await started('altered')
    const hook = join(directory, 'hooks', '10-migrate')
    const script = async (line: string) => {
      await writeFile(hook, `#!/bin/sh\n[ "$2" = migrate ] || exit 0\n${line}\n`)
      await chmod(hook, 0o755)
    }
    const unsupported = (path: string) => (error: unknown) =>
      error instanceof VisorError && error.code === 'unsupported-config' && error.path === path
    const before = await here.domains.describe(uuid)
    const seen = { ...before, memoryKiB: before.memoryKiB * 2 }
    await assert.rejects(
      here.domains.migrate(uuid, { to, token, definition: seen }),
      unsupported('memoryKiB'),
    )
    await script('echo "no room" >&2; exit 1')
    await assert.rejects(
      here.domains.migrate(uuid, { to, token }),
      /10-migrate' refuses to migrate.*no room/u,
    )
    await script("sed 's/<vcpu[^>]*>1</<vcpu>2</'")
    await assert.rejects(here.domains.migrate(uuid, { to, token }), unsupported('vcpus'))
    await ask(here, uuid, 'a', '0001')
    await script("sed 's|<name>.*|&<title>hooked</title>|'")
    const definition = { ...before, description: 'given' }
    await here.domains.migrate(uuid, { to, token, definition })
    await rm(hook)
    await ask(there, uuid, 'b', '0002')
    assert.deepEqual(await there.migrations.list(), [])
    const { title, description } = await there.domains.describe(uuid)
    assert.deepEqual({ title, description }, { title: 'hooked', description: 'given' })
  })

  test('a transient disk stays, and features that are not there are named', async () => {
    const disk = join(directory, 'transient.raw')
    await writeFile(disk, Buffer.alloc(1 << 20))
    const uuid = await started('transient', [{ file: disk, target: 'vdb', transient: true }])
    await assert.rejects(here.domains.migrate(uuid, { to, token }), /its disk 'vdb' ends with it/u)
    const definition = testDefinition('featured', boot, {
      disks: [{ file: boot, target: 'vda', readonly: true }],
    })
    await assert.rejects(
      there.migrations.prepare({
        ...{
          id: crypto.randomUUID(),
          definition: parse(DomainDefinition, { ...definition, uuid: crypto.randomUUID() }),
        },
        ...{ cpuFeatures: ['1:0:EDX=1', '7:0:EBX=10000'], transport: 'unix', disks: [] },
      }),
      /The destination has no avx512f, which the guest of domain 'featured' sees/u,
    )
    assert.deepEqual(await there.migrations.list(), [])
  })

  test('post-copy', { skip: noRoot }, async () => {
    const refusing = (await readFile('/proc/sys/vm/unprivileged_userfaultfd', 'latin1')).trim() === '0'
    const uuid = await started('postcopy')
    await ask(here, uuid, 'a', '0001')
    const options = {
      to: `unix://${restSocket(target.directories)}`,
      postcopy: true,
      postcopyAfter: 0,
    } as const
    if (refusing) {
      await assert.rejects(
        here.domains.migrate(uuid, options),
        (error) =>
          error instanceof VisorError &&
          error.code === 'unsupported-config' &&
          /unprivileged_userfaultfd/u.test(error.remedy ?? ''),
      )
      await ask(here, uuid, 'b', '0002')
    }
    const privileged = await startVisord({
      drivers: ['qemu'],
      arguments: ['--config', await rootConfig(directory)],
    })
    const far = await privileged.connect()
    try {
      const summary = await here.domains.migrate(uuid, {
        ...{ ...options, to: `unix://${restSocket(privileged.directories)}` },
        ...{ bandwidthMiBps: 1, maxDowntimeMs: 1 },
      })
      assert.equal(summary.postcopy, true)
      await ask(far, uuid, 'c', refusing ? '0003' : '0002')
      assert.equal((await here.domains.get(uuid)).reason, 'migrated')
      await far.domains.destroy(uuid)

      const broken = await started('broken')
      await ask(here, broken, 'a', '0001')
      const { pid = 0 } = await here.domains.get(broken)
      const runsThere = async () => {
        for (let tries = 0; tries < 1200; tries++) {
          const found = (await far.domains.list()).find((domain) => domain.uuid === broken)
          if (found?.reason === 'migrated') return
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
        throw new Error('It never ran there.')
      }
      const cut = breakPostcopy(pid, runsThere)
      await assert.rejects(
        here.domains.migrate(broken, {
          ...{ ...options, to: `unix://${restSocket(privileged.directories)}` },
          ...{ bandwidthMiBps: 1, maxDowntimeMs: 1 },
        }),
        (error) =>
          error instanceof VisorError && error.code === 'unavailable' && /--settle/u.test(error.remedy ?? ''),
      )
      await cut
      const told = (await far.domains.get(broken)).message
      const waiting = await here.domains.get(broken)
      // It goes on by itself after a while, maybe by now.
      if (waiting.reason !== 'migrated') {
        assert.deepEqual([waiting.state, waiting.reason], ['paused', 'migrating'])
        assert.match(told ?? '', /--settle/u)
        await here.domains.settleMigration(broken).catch(() => {})
      }
      for (let tries = 0; tries < 1200 && (await here.domains.get(broken)).state !== 'shutoff'; tries++)
        await new Promise((resolve) => setTimeout(resolve, 50))
      await ask(far, broken, 'b', '0002')
      assert.equal((await here.domains.get(broken)).reason, 'migrated')
      assert.equal((await far.domains.get(broken)).state, 'running')
      await far.domains.destroy(broken)
    } finally {
      await far.close()
      await privileged.dispose()
    }
  })

  test('Linux goes on: its files in memory, on disk, and its clock', async () => {
    const image = await buildTestImage(directory)
    const disk = join(directory, 'linux.qcow2')
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '64M'])
    const { uuid } = await here.domains.define({
      ...{ type: 'qemu', name: 'linux', memoryKiB: 128 * 1024, features: { acpi: true } },
      os: { arch: 'x86_64', kernel: image?.kernel, initrd: image?.initrd, commandLine: image?.commandLine },
      devices: { serials: [{}], disks: [{ file: disk, format: 'qcow2', target: 'vda' }] },
    })
    await here.domains.start(uuid)
    const console = await here.domains.openConsole(uuid, { scrollback: true })
    await heard(console, /:\/root# /u)
    const type = (stream: ByteStream, line: string) => stream.write(Buffer.from(`${line}\n`))
    // Writes numbers to memory and to the disk, each once and in order, as fast as it can.
    const loop =
      'i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo $i >> /tmp/seen; printf "%08d" $i | dd of=/dev/vda bs=8 seek=$i conv=notrunc 2>/dev/null; done &'
    await type(console, `${loop} echo beg''un`)
    await heard(console, /begun/u)
    await console.close()
    for (let round = 0; round < 2; round++) {
      const [from, into, place] = round === 0 ? [here, there, 'there'] : [there, here, 'back']
      await mkdir(join(directory, place), { recursive: true })
      await from.domains.migrate(uuid, {
        to: round === 0 ? to : `unix://${restSocket(source.directories)}`,
        ...(round === 0 ? { token } : {}),
        ...{ copyStorage: 'all', copyTo: join(directory, place), undefineSource: true },
      })
      assert.equal((await into.domains.get(uuid)).state, 'running')
    }
    const after = await here.domains.openConsole(uuid)
    await type(after, 'touch /tmp/stop; wait; sync; n=$(wc -l < /tmp/seen); echo count=$n.')
    const [, count = '0'] = /count=(\d+)\./u.exec(await heard(after, /count=\d+\./u)) ?? []
    await type(after, 'awk \'$1 != NR { bad++ } END { print "gaps=" bad+0 "." }\' /tmp/seen')
    assert.match(await heard(after, /gaps=\d+\./u), /gaps=0\./u)
    await after.close()
    assert.ok(Number(count) > 10, `It wrote only ${count} numbers.`)
    await here.domains.destroy(uuid, { graceful: true })
    // What the guest wrote last is on the disk that went there and back.
    const raw = join(directory, 'result.raw')
    execFileSync('qemu-img', ['convert', '-O', 'raw', join(directory, 'back', 'linux.qcow2'), raw])
    const content = (await readFile(raw)).subarray(8, 8 * (Number(count) + 1)).toString('latin1')
    const wanted = Array.from({ length: Number(count) }, (_, index) => String(index + 1).padStart(8, '0'))
    assert.equal(content, wanted.join(''))
    await stat(join(directory, 'there', 'linux.qcow2'))
  })
})

/** Breaks its connection when the guest runs elsewhere and most of its memory is still here, over the monitor that visord leaves alone. */
async function breakPostcopy(pid: number, runsThere: () => Promise<void>): Promise<void> {
  const path = /path=([^,]+)/u.exec(
    (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').find((arg) => arg.includes('id=monitor1')) ??
      '',
  )?.[1]
  const monitor = connectSocket(path ?? '')
  const say = (command: object) => monitor.write(`${JSON.stringify(command)}\n`)
  const slowDown = (bytes: number) =>
    say({ execute: 'migrate-set-parameters', arguments: { 'max-postcopy-bandwidth': bytes } })
  say({ execute: 'qmp_capabilities' })
  for await (const line of createInterface({ input: monitor })) {
    const { event, data } = JSON.parse(line)
    if (event === 'MIGRATION' && data.status === 'postcopy-active') {
      slowDown(32 * 1024)
      await runsThere()
      say({ execute: 'migrate-pause' })
    }
    if (event === 'MIGRATION' && /^(postcopy-paused|completed|failed)$/u.test(data.status)) break
  }
  slowDown(0)
  await new Promise<void>((resolve) => monitor.end(() => resolve()))
}

async function heard(console: ByteStream, pattern: RegExp): Promise<string> {
  let seen = ''
  for await (const chunk of console) {
    seen += Buffer.from(chunk).toString('latin1')
    if (pattern.test(seen)) return seen
  }
  throw new Error(`The console ended before ${pattern} in: ${seen}`)
}

/** Guests of this one are root's. */
async function rootConfig(directory: string): Promise<string> {
  const file = join(directory, 'root.yaml')
  await writeFile(file, "guestUser: '0'\n")
  return file
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address ? address.port : 0
}

/** An authority and certificates of a server and a client, made anew. */
function makeCertificates(pki: string, address: string): void {
  const run = (...args: string[]) => execFileSync('openssl', args, { cwd: pki, stdio: 'pipe' })
  const key = ['-newkey', 'rsa:2048', '-nodes']
  run(
    'req',
    '-x509',
    ...key,
    '-days',
    '2',
    '-subj',
    '/CN=authority',
    '-keyout',
    'ca-key.pem',
    '-out',
    'ca-cert.pem',
  )
  for (const end of ['server', 'client']) {
    const name = `subjectAltName=${end === 'server' ? `IP:${address}` : 'DNS:client'}`
    run(
      'req',
      ...key,
      '-subj',
      `/CN=${end}`,
      '-addext',
      name,
      '-keyout',
      `${end}-key.pem`,
      '-out',
      `${end}.csr`,
    )
    const sign = [
      '-CA',
      'ca-cert.pem',
      '-CAkey',
      'ca-key.pem',
      '-CAcreateserial',
      '-days',
      '2',
      '-copy_extensions',
      'copy',
    ]
    run('x509', '-req', '-in', `${end}.csr`, ...sign, '-out', `${end}-cert.pem`)
  }
}
