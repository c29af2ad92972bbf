/** Folders of the host in real guests: written on one side, read on the other, lost, found again, plugged. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { ByteStream, CompleteConnection } from '../../../../driver/index.ts'
import { identifyProcess, listDirectory, listenFor } from '../../../../host/index.ts'
import {
  type DomainDefinitionInput,
  Filesystem,
  type Image,
  parse,
  VisorError,
} from '../../../../model/index.ts'
import { buildTestImage } from '../../../../storage/testing/test-images.ts'
import { findProgram } from '../../emulator/emulator.ts'
import { openTestDriver } from '../../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../../testing/test-guest.ts'
import { openTerminal, prompt, type Terminal } from '../../testing/test-terminal.ts'
import { findVirtiofsd, serveCommand } from './virtiofsd.ts'

const noQemu = (await findProgram('qemu-system-x86_64')) ? false : 'qemu-system-x86_64 is not installed'
const virtiofsd = await findVirtiofsd()
const noVirtiofsd = virtiofsd ? false : 'virtiofsd is not installed'
const noImages = (await findProgram('apt-get')) ? false : 'there is no apt-get to build the micro guest with'
const isRoot = process.getuid?.() === 0
/** What virtiofsd shuts itself in with. */
const namespaces = isRoot ? ['--mount', '--pid', '--net', '--fork'] : ['--user', '--map-root-user', '--mount']
const noNamespaces =
  spawnSync('unshare', [...namespaces, 'true'], { stdio: 'ignore' }).status === 0
    ? false
    : 'this host gives us no namespaces of our own'
/** That of old cannot refuse writing by itself. */
const readonly = isRoot || virtiofsd?.readonly === true

type Share = NonNullable<NonNullable<DomainDefinitionInput['devices']>['filesystems']>[number]

describe('Shares', { skip: noQemu || noVirtiofsd || noNamespaces, timeout: 600_000 }, () => {
  let directory = ''
  let disk = ''
  let folder = ''
  let connection: CompleteConnection

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-shares-'))
    await chmod(directory, 0o755)
    disk = join(directory, 'disk.raw')
    await writeTestDisk(disk)
    // Nobody else may look into it.
    folder = join(directory, 'closed', 'one, two \\ three')
    await mkdir(folder, { recursive: true })
    await Promise.all([chmod(join(directory, 'closed'), 0o700), chmod(folder, 0o700)])
    await writeFile(join(folder, 'host, file'), 'from the host\n')
    connection = await openTestDriver(directory)
  })
  after(async () => {
    for (const { uuid, state } of await connection.domains.list())
      if (state !== 'shutoff') await connection.domains.destroy(uuid)
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  const served = () => join(directory, 'run', 'virtiofs')

  /** The process that serves a share. */
  async function servant(uuid: string, alias: string): Promise<number> {
    const record = JSON.parse(await readFile(join(served(), `${uuid}-${alias}`, 'record.json'), 'utf8'))
    return record.process.pid
  }

  async function eventually(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
    const deadline = performance.now() + 240_000
    while (!(await holds())) {
      assert.ok(performance.now() < deadline, `Waited in vain until ${what}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  const virtiofs = (target: string, more: Partial<Share> = {}): Share => ({
    driver: 'virtiofs',
    source: folder,
    target,
    ...more,
  })
  const small = (name: string, filesystems: Share[]) =>
    testDefinition(name, disk, { filesystems, serials: [{}] })

  /** Linux of 32 bits: its kernel of Debian has 9p, which those for clouds lack. */
  async function image(): Promise<Image> {
    return buildTestImage(directory, 'i686')
  }

  describe('with Linux', { skip: noImages }, () => {
    let uuid = ''
    let terminal: Terminal
    let typed: ByteStream
    let number = 0

    before(async () => {
      const { kernel, initrd, commandLine } = await image()
      const filesystems: Share[] = [
        virtiofs('vfs', { cache: 'none', queueSize: 256, extendedAttributes: true, threads: 2 }),
        virtiofs('v ro, 2', { readonly }),
        { source: folder, target: 'np', accessMode: 'squash' },
        { source: folder, target: 'np ro, 2', readonly: true },
      ]
      const definition: DomainDefinitionInput = {
        type: 'qemu',
        name: 'linux',
        memoryKiB: 192 * 1024,
        os: { kernel, initrd, commandLine },
        // Beside the memory map of an AMD a kernel of 32 bits finds no room for what is plugged in.
        cpu: { mode: 'custom', model: 'Nehalem' },
        features: { acpi: true },
        devices: { serials: [{}], filesystems },
      } as DomainDefinitionInput
      uuid = (await connection.domains.define(definition)).uuid
      await connection.domains.start(uuid)
      await connect()
      await terminal.until(prompt)
      const np = '-o trans=virtio,version=9p2000.L'
      const modules = 'modprobe -a virtiofs 9p 9pnet_virtio'
      await typed.write(Buffer.from(`mkdir /v /vr /n /nr; ${modules}; mount -t 9p ${np} np /n\n`))
    })
    after(async () => {
      await terminal?.close()
      if (uuid) await connection.domains.destroy(uuid).catch(() => {})
    })

    async function connect(): Promise<void> {
      typed = await connection.domains.openConsole(uuid, { scrollback: true })
      terminal = openTerminal(typed)
    }

    /** What a command says in the guest, by way of the share: a serial port under load says letters twice. */
    async function inGuest(command: string): Promise<string> {
      const name = `said-${++number}`
      await typed.write(Buffer.from(`{ ${command}; } >/n/saying 2>&1; mv /n/saying /n/${name}\n`))
      await eventually(`the guest has done ${command}`, () => existsSync(join(folder, name)))
      return readFile(join(folder, name), 'utf8')
    }

    test('what one side writes the other reads, in four shares of a folder', async () => {
      const said = await inGuest(
        "mount -t virtiofs vfs /v && mount -t virtiofs 'v ro, 2' /vr && echo mounted",
      )
      assert.match(said, /mounted/u)
      const refusal = { code: 'unsupported-config', path: 'devices.filesystems[0]' } as const
      await assert.rejects(connection.templates.create('never', { domain: uuid }), refusal)
      for (const place of ['v', 'vr', 'n'])
        assert.match(await inGuest(`cat "/${place}/host, file"`), /from the host/u, place)
      await inGuest('echo guest >/v/by-virtiofs; chown 12:34 /v/by-virtiofs; echo guest >/n/by-9p; sync')
      assert.equal(await readFile(join(folder, 'by-virtiofs'), 'utf8'), 'guest\n')
      assert.equal(await readFile(join(folder, 'by-9p'), 'utf8'), 'guest\n')
      if (isRoot) {
        const { uid, gid } = await stat(join(folder, 'by-virtiofs'))
        assert.deepEqual([uid, gid], [12, 34])
      }
      await writeFile(join(folder, 'later'), 'and later\n')
      assert.match(await inGuest('cat /v/later /n/later'), /and later\s+and later/u)
    })

    test('a share that is read-only refuses to be written to, whoever mounts it', async () => {
      const said = await inGuest(
        `mount -t 9p -o trans=virtio,version=9p2000.L 'np ro, 2' /nr; for f in ${readonly ? '/vr' : ''} /nr; do echo x >$f/new; rm $f/later; done`,
      )
      assert.equal(said.match(/Read-only file system/gu)?.length, readonly ? 4 : 2, said)
      assert.equal(existsSync(join(folder, 'new')), false)
      assert.equal(existsSync(join(folder, 'later')), true)
    })

    test('a state that QEMU cannot take along is refused before anything happens', async () => {
      const what = { code: 'unsupported-config', message: /virtiofs shares 'vfs', 'v ro, 2'/u }
      await assert.rejects(connection.domains.save(uuid), what)
      await assert.rejects(connection.snapshots.create(uuid, { name: 'no' }), what)
      assert.equal((await connection.domains.get(uuid)).state, 'running')
      assert.match(await inGuest('cat /v/later'), /and later/u)
    })

    test('a later daemon finds what serves it', async () => {
      const pid = await servant(uuid, 'fs0')
      await terminal.close()
      await connection.close()
      connection = await openTestDriver(directory)
      assert.equal((await connection.domains.get(uuid)).message, undefined)
      assert.equal(await servant(uuid, 'fs0'), pid)
      await connect()
      assert.match(await inGuest('cat /v/later'), /and later/u)
    })

    test('one that is plugged in works, and is let go', async () => {
      const device = { filesystems: [virtiofs('plugged')] }
      await connection.domains.attachDevice(uuid, { device, live: true, config: true })
      const mount =
        'mkdir -p /p; for i in $(seq 200); do mount -t virtiofs plugged /p 2>/dev/null && break; sleep 1; done; cat /p/later'
      assert.match(await inGuest(mount), /and later/u)
      assert.equal((await readdir(served())).length, 3)
      await inGuest('umount /p')
      await connection.domains.detachDevice(uuid, { device, live: true, config: true })
      assert.equal((await readdir(served())).length, 2)
      const { devices } = await connection.domains.describe(uuid)
      assert.equal(devices.filesystems.length, 4)
      const late = { filesystems: [{ source: folder, target: 'late' }] }
      await assert.rejects(connection.domains.attachDevice(uuid, { device: late, live: true }), {
        code: 'unsupported-config',
        message: /by 9p/u,
      })
    })

    test('it says which share was lost, and the guest goes on', async () => {
      const events = connection.events()[Symbol.asyncIterator]()
      process.kill(await servant(uuid, 'fs0'), 'SIGKILL')
      for (;;) {
        const { value } = await events.next()
        if (value.kind === 'domain' && value.reason === 'share-lost') {
          assert.match(value.message ?? '', /'vfs'/u)
          break
        }
      }
      await events.return?.()
      assert.match((await connection.domains.get(uuid)).message ?? '', /serves the share 'vfs' ended/u)
      assert.match(await inGuest('cat /vr/later /n/later'), /and later\s+and later/u)
      await connection.domains.destroy(uuid)
      assert.deepEqual(await listDirectory(served()), [])
    })
  })

  test('what the definition leaves open is shared memory; private memory is refused', async () => {
    const { uuid } = await connection.domains.define(small('plain', []))
    await connection.domains.start(uuid)
    const device = { filesystems: [virtiofs('late')] }
    await assert.rejects(connection.domains.attachDevice(uuid, { device, live: true }), {
      code: 'unsupported-config',
      message: /memory/u,
    })
    assert.deepEqual(await listDirectory(served()), [])
    await connection.domains.destroy(uuid)
    await assert.rejects(
      connection.domains.define({
        ...small('private', [virtiofs('one')]),
        memoryBacking: { access: 'private' },
      }),
      { code: 'unsupported-config' },
    )
  })

  test('visord is killed: the next one finds what serves, and says what was lost meanwhile', async () => {
    const shares = [virtiofs('kept'), virtiofs('lost')]
    const { uuid } = await connection.domains.define(small('killed', shares))
    await connection.close()
    const script = join(import.meta.dirname, '../../testing/test-daemon.ts')
    const daemon: ChildProcess = spawn(process.execPath, [script, directory, 'killed', '--start'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    for await (const chunk of daemon.stdout ?? []) if (String(chunk).includes('\n')) break
    const exited = once(daemon, 'exit')
    daemon.kill('SIGKILL')
    await exited
    const kept = await servant(uuid, 'fs0')
    process.kill(await servant(uuid, 'fs1'), 'SIGKILL')
    connection = await openTestDriver(directory)
    assert.equal((await connection.domains.get(uuid)).state, 'running')
    await eventually('the loss is told', async () =>
      /'lost'/u.test((await connection.domains.get(uuid)).message ?? ''),
    )
    assert.doesNotMatch((await connection.domains.get(uuid)).message ?? '', /'kept'/u)
    assert.equal(await servant(uuid, 'fs0'), kept)
    await connection.domains.destroy(uuid)
    assert.deepEqual(await listDirectory(served()), [])
    assert.equal(identifyProcess(kept), undefined)
  })

  test('what serves a share and cannot is told in its own words, and nothing is left', async () => {
    const gone = join(directory, 'gone')
    const { uuid } = await connection.domains.define(
      small('gone', [virtiofs('one'), virtiofs('two', { source: gone })]),
    )
    await assert.rejects(connection.domains.start(uuid), { code: 'not-found', message: /gone/u })
    await writeFile(gone, '')
    await assert.rejects(connection.domains.start(uuid), { message: /no folder/u })
    assert.equal((await connection.domains.get(uuid)).state, 'shutoff')
    assert.deepEqual(await listDirectory(served()), [])
  })

  test('a program that runs already is reached at its socket, and left alone', async () => {
    assert.ok(virtiofsd)
    const socket = join(directory, 'closed', 'own.sock')
    const fd = await listenFor(socket)
    const { program, args } = serveCommand(parse(Filesystem, virtiofs('own')), virtiofsd, { socket: 3 })
    const own = spawn(program, [...args], { stdio: ['ignore', 'ignore', 'ignore', fd] })
    closeSync(fd)
    const ended = once(own, 'exit')
    after(() => own.kill('SIGKILL'))
    const share: Share = { driver: 'virtiofs', socket, target: 'own' }
    const { uuid } = await connection.domains.define(small('own', [share]))
    await connection.domains.start(uuid)
    await connection.domains.destroy(uuid)
    // It ends when QEMU lets go of it: so they were connected.
    await ended
    assert.ok((await stat(socket)).isSocket())
    await assert.rejects(connection.domains.start(uuid), VisorError)
    assert.equal((await connection.domains.get(uuid)).state, 'shutoff')
  })

  test('9p keeps no owners without root, which is refused where files are made', {
    skip: !isRoot,
  }, async () => {
    const { uuid } = await connection.domains.define(small('owners', [{ source: folder, target: 'np' }]))
    await assert.rejects(connection.domains.start(uuid), {
      code: 'unsupported-config',
      message: /accessMode.*passthrough/u,
    })
    await connection.domains.undefine(uuid)
  })

  test('names of 10,000 characters are refused, wherever they stand', async () => {
    const long = 'x'.repeat(10_000)
    for (const share of [
      virtiofs(long),
      virtiofs('x'.repeat(37)),
      { source: folder, target: 'x'.repeat(32) },
    ])
      await assert.rejects(connection.domains.define(small('long', [share])), {
        code: /invalid-definition|unsupported-config/u,
      })
    const shares = [virtiofs('t', { source: `/${long}` }), virtiofs('t', { binary: `/${long}` })]
    for (const share of [...shares, { source: `/${long}`, target: 't' }]) {
      const define = connection.domains.define(small('long', [share]))
      const failure = await define.then(({ uuid }) => connection.domains.start(uuid)).catch((error) => error)
      assert.ok(failure instanceof VisorError && failure.code !== 'internal', String(failure))
    }
    const socket = virtiofs('t', { socket: `/${'x'.repeat(200)}`, source: undefined } as Partial<Share>)
    await assert.rejects(connection.domains.define(small('long', [socket])), { code: 'unsupported-config' })
  })
})
