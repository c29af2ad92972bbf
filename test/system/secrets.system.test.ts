/** Secrets as people type them, and machines whose disks they unlock, with a real visord and QEMU. */
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { talkTo, writeDiskGuest } from '../../src/drivers/qemu/testing/test-disk-guest.ts'
import { findProgram } from '../../src/host/index.ts'
import { type CommandOptions, type CommandResult, visorCommand } from '../fixtures/visor-command.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

const missing = ['qemu-system-x86_64', 'qemu-img'].map(async (program) =>
  (await findProgram(program)) ? [] : [program],
)
const skip = (await Promise.all(missing)).flat().join(', ')

describe('secrets', { skip: skip !== '' && `not installed: ${skip}` }, () => {
  let visord: Visord
  let folder = ''
  let connection: CompleteConnection
  let visor: (args: readonly string[], options?: CommandOptions) => Promise<CommandResult>
  const succeed = async (args: readonly string[], options?: CommandOptions) => {
    const result = await visor(args, options)
    assert.equal(result.code, 0, `visor ${args.join(' ')}: ${result.stderr}`)
    return result
  }
  const words = 'correct horse battery staple'

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
    await visord.dispose()
  })

  /** Files of secrets in the runtime directory. */
  async function secretFiles(): Promise<string[]> {
    const names = await readdir(visord.directories.runtime, { recursive: true })
    return names.filter((name) => /-(?:key|auth)$/u.test(name) || name.startsWith('keys/'))
  }

  test('a secret is made, shown, read, and kept from those who may only look', async () => {
    const made = await succeed(['secret', 'create', 'db', '--description', 'of the database'], {
      input: `${words}\n`,
    })
    assert.match(made.stdout, /^[0-9a-f-]{36}\n$/u)
    assert.match((await succeed(['secret', 'list'])).stdout, /^db +volume +kept +[0-9a-f-]{36}/mu)
    const shown = await succeed(['secret-dumpxml', 'db'])
    assert.match(shown.stdout, /<description>of the database<\/description>\n {2}<usage type='volume'>/u)
    assert.equal((await succeed(['secret', 'get-value', 'db'])).stdout, words)
    assert.equal(
      (await succeed(['secret-get-value', 'db'])).stdout.trim(),
      Buffer.from(words).toString('base64'),
    )
    const file = join(folder, 'secret.xml')
    await writeFile(file, "<secret private='yes'><usage type='ceph'><name>client</name></usage></secret>")
    assert.match((await succeed(['secret-define', file])).stderr, /visor secret set-value [0-9a-f-]{36}/u)
    await succeed(['secret', 'set-value', 'client', '--generate'])
    const refused = await visor(['secret', 'get-value', 'client'])
    assert.match(refused.stderr, /is private: it is only used, not told/u)
    await succeed(['secret', 'remove', 'client'])
    const twin = await visor(['secret', 'create', 'db', '--generate'])
    assert.match(twin.stderr, /already a secret for 'db'/u)
  })

  test('a machine reads and writes encrypted disks, and nobody else sees what or with which key', async () => {
    const boot = join(folder, 'boot.raw')
    await writeDiskGuest(boot)
    await succeed(['volume', 'create', 'kept.raw', '1MiB', '--encrypt', 'db'])
    await succeed([
      ...[
        'create',
        'web',
        '--disk',
        `${boot},readonly`,
        '--disk',
        '1MiB,encrypt',
        '--disk',
        'kept.raw,pool=default',
      ],
      ...['--memory', '32MiB', '--network', 'none', '--driver', 'qemu'],
    ])
    const { uuid, pid = 0 } = await connection.domains.get('web')
    const guest = await talkTo(connection, uuid, { booting: true })
    for (const disk of [1, 2]) {
      await guest.write(disk, 'b', 'V')
      assert.equal(await guest.read(disk, 'b'), 'V')
    }
    assert.deepEqual((await secretFiles()).length, 2)
    assert.equal((await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes(words), false)
    const dumped = await succeed(['dumpxml', 'web'])
    assert.equal(dumped.stdout.includes(words), false)
    assert.match(
      dumped.stdout,
      /<encryption format='luks'>\n +<secret type='passphrase' uuid='[0-9a-f-]{36}'\/>/u,
    )

    // Plugged in while it runs, and taken out again.
    assert.match((await succeed(['attach', 'web', '--disk', '1MiB,encrypt,bus=usb'])).stderr, /web has/u)
    assert.equal((await secretFiles()).length, 3)
    assert.equal((await succeed(['secret', 'list', '--quiet'])).stdout.trim().split('\n').length, 3)

    // A later daemon copies them while they are in use.
    await connection.close()
    await visord.kill()
    await visord.start()
    connection = await visord.connect()
    await mkdir(join(folder, 'copies'))
    await succeed(['backup', 'web', '--to', join(folder, 'copies')])
    const copies = await readdir(join(folder, 'copies'))
    assert.equal(copies.length, 3)
    await succeed(['detach-disk', 'web', 'sda'])
    assert.equal((await secretFiles()).length, 2)
    await guest.close()
    await succeed(['destroy', 'web'])
    assert.deepEqual(await secretFiles(), [])

    for (const { path, name } of await connection.volumes.list('default'))
      assert.equal((await readFile(path)).includes('V'.repeat(512)), false, name)
    for (const name of copies)
      assert.equal((await readFile(join(folder, 'copies', name))).includes('V'.repeat(512)), false, name)
    assert.equal(
      (await connection.volumes.download('default', 'kept.raw', { format: 'raw' })).sizeBytes,
      2 ** 20,
    )
    assert.equal(visord.log().includes(words), false)
    assert.equal(visord.log().includes(Buffer.from(words).toString('base64')), false)
  })

  test('a machine whose secret has no value does not start, and the error names the remedy', async () => {
    const { uuid } = await connection.secrets.define({ ephemeral: true })
    await connection.secrets.setValue(uuid, { base64: 'eHl6' })
    await succeed(['volume', 'create', 'short.qcow2', '1MiB', '--encrypt', uuid])
    await connection.close()
    await visord.stop()
    await visord.start()
    connection = await visord.connect()
    const refused = await visor([
      ...['create', 'late', '--disk', 'short.qcow2,pool=default', '--memory', '32MiB', '--network', 'none'],
      ...['--driver', 'qemu'],
    ])
    assert.match(refused.stderr, /has no value/u)
    assert.match(refused.stderr, /visor secret set-value [0-9a-f-]{36} \(it is ephemeral/u)
    assert.deepEqual(await secretFiles(), [])
    await succeed(['secret', 'set-value', uuid], { input: 'xyz' })
    await succeed(['start', 'late'])
    await succeed(['destroy', 'late'])
    const gone = await visor(['secret', 'remove', uuid])
    assert.match(gone.stderr, /needed by default\/short\.qcow2/u)
  })
})
