/** Pools on servers, by real ones on loopback: their volumes as disks of machines, and copied to this host. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { talkTo, writeDiskGuest } from '../../src/drivers/qemu/testing/test-disk-guest.ts'
import { findProgram, run } from '../../src/host/index.ts'
import { freePort, noIscsiTarget, serveIscsi, until } from '../fixtures/iscsi-target.ts'
import { type CommandOptions, type CommandResult, visorCommand } from '../fixtures/visor-command.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

const missing = ['qemu-system-x86_64', 'qemu-img', 'qemu-nbd'].map(async (program) =>
  (await findProgram(program)) ? [] : [program],
)
const skip = (await Promise.all(missing)).flat().join(', ')
const noIscsi = noIscsiTarget || ((await findProgram('iscsi-ls')) ? false : 'libiscsi-bin is not installed')

describe('pools on servers', { skip: skip !== '' && `not installed: ${skip}` }, () => {
  let visord: Visord
  let folder = ''
  let connection: CompleteConnection
  let visor: (args: readonly string[], options?: CommandOptions) => Promise<CommandResult>
  const servers: ChildProcess[] = []
  const succeed = async (args: readonly string[], options?: CommandOptions) => {
    const result = await visor(args, options)
    assert.equal(result.code, 0, `visor ${args.join(' ')}: ${result.stderr}`)
    return result
  }

  before(async () => {
    visord = await startVisord({ drivers: ['qemu'] })
    folder = join(visord.directories.state, '..')
    visor = visorCommand(visord.directories)
    connection = await visord.connect()
  })
  after(async () => {
    for (const { uuid, state } of await connection.domains.list())
      if (state !== 'shutoff') await connection.domains.destroy(uuid)
    await connection.close()
    for (const server of servers) {
      server.kill()
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
    }
    await visord.dispose()
  })

  async function makeFile(name: string, bytes: Buffer): Promise<string> {
    const path = join(folder, name)
    await writeFile(path, bytes)
    return path
  }

  test('the export of an NBD server is a disk, and is copied to this host', async () => {
    const port = await freePort()
    const file = await makeFile('nbd.raw', Buffer.concat([randomBytes(2 ** 20), Buffer.alloc(2 ** 20)]))
    const server = spawn(
      'qemu-nbd',
      ['-f', 'raw', '-t', '-e', '4', '-b', '127.0.0.1', '-p', String(port), '-x', 'da ta', file],
      { stdio: 'ignore' },
    )
    servers.push(server)
    await until(
      server,
      async () => (await run('qemu-nbd', ['-L', '-b', '127.0.0.1', '-p', String(port)])).code === 0,
    )
    const made = await succeed(['pool', 'create', 'lab', '--type', 'nbd', '--host', `127.0.0.1:${port}`])
    assert.match(made.stderr, /pool lab is there: nbd/u)
    const [volume, ...others] = await connection.volumes.list('lab')
    assert.deepEqual(others, [])
    assert.deepEqual(
      [volume?.name, volume?.type, volume?.capacityBytes, volume?.path],
      ['da ta', 'network', 2 ** 21, `nbd://127.0.0.1:${port}/da%20ta`],
    )
    await succeed(['volume', 'clone', 'lab/da ta', 'default/copy.qcow2'])
    const content = await readFile(file)
    const raw = join(folder, 'copy.raw')
    await succeed(['volume', 'download', 'copy.qcow2', raw, '--format', 'raw'])
    assert.ok((await readFile(raw)).equals(content))

    const boot = join(folder, 'boot.raw')
    await writeDiskGuest(boot)
    await succeed([
      ...['create', 'web', '--disk', `${boot},readonly`, '--disk', 'da ta,pool=lab', '--memory', '32MiB'],
      ...['--network', 'none', '--driver', 'qemu'],
    ])
    const guest = await talkTo(connection, 'web', { booting: true })
    await guest.write(1, 'b', 'V')
    assert.equal(await guest.read(1, 'b'), 'V')
    await guest.close()
    await succeed(['destroy', 'web'])
    assert.ok((await readFile(file)).includes('V'.repeat(512)))
    const refused = await visor(['volume', 'remove', 'lab/da ta', '--force'])
    assert.match(refused.stderr, /of a type that cannot do that/u)
    const download = await visor(['volume', 'download', 'lab/da ta', join(folder, 'x')])
    assert.match(download.stderr, /is not on this host/u)
  })

  test('a pool whose server is gone says so, and its other pools are there', async () => {
    const port = await freePort()
    const refused = await visor(['pool', 'create', 'gone', '--type', 'nbd', '--host', `127.0.0.1:${port}`])
    assert.match(refused.stderr, /The NBD server at 127\.0\.0\.1:\d+ cannot be asked/u)
    assert.equal((await connection.pools.get('default')).name, 'default')
  })

  test('a machine boots from the unit of an iSCSI target that wants a password', {
    skip: noIscsi,
  }, async (t) => {
    const boot = join(folder, 'unit.raw')
    await writeDiskGuest(boot)
    const data = await makeFile('data.raw', Buffer.alloc(2 ** 20))
    const login = { username: 'visor', password: 'tops3cret-word' }
    const target = await serveIscsi([boot, data], login)
    t.after(target.close)
    await succeed(['secret', 'create', 'storage', '--usage', 'iscsi'], { input: 'wrong-password' })
    const create = [
      ...['pool', 'create', 'san', '--type', 'iscsi-direct', '--host', `127.0.0.1:${target.port}`],
      ...['--device', target.name, '--initiator', 'iqn.2026-01.org.example:here'],
      ...['--user', login.username, '--secret', 'storage'],
    ]
    const refused = await visor(create)
    assert.match(refused.stderr, /does not let visor in/u)
    await succeed(['secret', 'set-value', 'storage'], { input: login.password })
    await succeed(create)
    const units = await connection.volumes.list('san')
    assert.deepEqual(
      units.map(({ name, capacityBytes }) => [name, capacityBytes]),
      [
        ['unit:0:0:1', (await readFile(boot)).length],
        ['unit:0:0:2', 2 ** 20],
      ],
    )
    const disks = units.flatMap(({ name }) => ['--disk', `${name},pool=san`])
    await succeed([
      'create',
      'remote',
      ...disks,
      '--memory',
      '32MiB',
      '--network',
      'none',
      '--driver',
      'qemu',
    ])
    const guest = await talkTo(connection, 'remote', { booting: true })
    await guest.write(1, 'c', 'W')
    assert.equal(await guest.read(1, 'c'), 'W')
    await guest.close()
    const { pid = 0 } = await connection.domains.get('remote')
    assert.equal((await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes(login.password), false)
    await succeed(['destroy', 'remote'])
    assert.ok((await readFile(data)).includes('W'.repeat(512)))
    await succeed(['volume', 'clone', 'san/unit:0:0:2', 'default/kept.raw'])
    const { path } = await connection.volumes.get('default', 'kept.raw')
    assert.ok((await readFile(path)).equals(await readFile(data)))
    assert.equal(visord.log().includes(login.password), false)
    assert.match((await visor(['secret', 'remove', 'storage'])).stderr, /needed by san/u)
  })
})
