/** Images as people type them, with a real visord: from a machine's disk to an image, a file, another machine, and away. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { writeTestDisk } from '../../src/drivers/qemu/testing/test-guest.ts'
import { findProgram, runChecked } from '../../src/host/index.ts'
import { type CommandResult, visorCommand } from '../fixtures/visor-command.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

const missing = ['qemu-system-x86_64', 'qemu-img'].map(async (program) =>
  (await findProgram(program)) ? [] : [program],
)
const skip = (await Promise.all(missing)).flat().join(', ')

describe('images', { skip: skip !== '' && `not installed: ${skip}` }, () => {
  let visord: Visord
  let folder = ''
  let connection: CompleteConnection
  let visor: (args: readonly string[]) => Promise<CommandResult>
  const succeed = async (...args: string[]) => {
    const result = await visor(args)
    assert.equal(result.code, 0, `visor ${args.join(' ')}: ${result.stderr}`)
    return result
  }
  const fails = async (wanted: RegExp, ...args: string[]) => {
    const result = await visor(args)
    assert.notEqual(result.code, 0)
    assert.match(result.stderr, wanted)
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
    await visord.dispose()
  })

  test('a machine becomes an image, the image a file and other machines', async () => {
    const disk = join(folder, 'boot.raw')
    await writeTestDisk(disk)
    await succeed('image', 'import', disk, '--name', 'seed', '--arch', 'x86_64')
    await succeed(
      'create',
      'web',
      '--image',
      'seed',
      '--disk',
      '8MiB',
      '--memory',
      '16MiB',
      '--network',
      'none',
    )
    await fails(
      /is running: its disk changes|belongs to|runs/u,
      'image',
      'publish',
      'web',
      '--name',
      'golden',
    )
    await succeed('destroy', 'web')
    const made = await succeed('image', 'publish', 'web', '--name', 'golden', '--compress')
    assert.match(made.stderr, /image golden \(x86_64, .*\) is made/u)
    await fails(/already an image 'golden'/u, 'image', 'publish', 'web', '--name', 'golden')
    const shown = (await succeed('image', 'show', 'seed')).stdout
    assert.match(shown, /^ *guests see +\S+/mu)
    assert.match(shown, /Used by\n +volume +web\S*\.qcow2/u)
    const file = join(folder, 'golden.vmdk')
    await succeed('image', 'export', 'golden', file, '--format', 'vmdk')
    const { disk: path = '' } = await connection.images.get('golden')
    await runChecked('qemu-img', ['compare', '-f', 'qcow2', '-F', 'vmdk', path, file])
    const plain = join(folder, 'golden.qcow2')
    await succeed('image', 'export', 'golden', plain, '--checksum')
    assert.deepEqual(await readFile(plain), await readFile(path))
    const hash = createHash('sha256')
      .update(await readFile(plain))
      .digest('hex')
    await fails(/has the SHA-256/u, 'image', 'export', 'golden', `${plain}2`, '--checksum', 'a'.repeat(64))
    assert.equal(
      JSON.parse(
        (await succeed('image', 'export', 'golden', plain, '--force', '--checksum', hash, '--json')).stdout,
      ).file,
      plain,
    )
    await succeed('create', 'twin', '--image', 'golden', '--memory', '16MiB', '--network', 'none')
    for (let tries = 0; tries < 600; tries++) {
      if (Buffer.from(await connection.domains.consoleLog('twin')).includes('ready')) return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    assert.fail("the machine made of the image did not say 'ready'")
  })

  test('what nobody uses is told, then removed', async () => {
    const told = await succeed('image', 'prune', '--older-than', '0s', '--dry-run')
    assert.match(told.stderr, /^0 would be removed/mu)
    await succeed('destroy', 'twin')
    await succeed('undefine', 'twin', '--disks')
    const dry = await succeed('image', 'prune', '--older-than', '0s', '--dry-run')
    assert.match(dry.stdout, /^image +golden:x86_64 /mu)
    assert.match((await succeed('image', 'prune', '--older-than', '0s')).stderr, /removed, .* became free/u)
    const names = (await connection.images.list()).map(({ name }) => name)
    assert.deepEqual(names, ['seed'])
    await fails(/is not a time/u, 'image', 'prune', '--older-than', 'soon')
  })

  test('a machine is exported as an OVA and imported again', async () => {
    const ova = join(folder, 'web.ova')
    await succeed('export', 'web', ova)
    await fails(/already/u, 'export', 'web', ova)
    await fails(/no name of an OVA/u, 'export', 'web', join(folder, 'web.zip'))
    assert.equal((await runChecked('tar', ['-tf', ova])).stdout, 'web.ovf\nweb-disk0.vmdk\nweb.mf\n')
    await fails(/There is already a domain 'web'/u, 'import', ova)
    const done = await succeed('import', ova, '--name', 'again')
    assert.match(done.stderr, /again is defined: 1 processors, 16 MiB, 1 disks \(8 MiB\), 0 network cards/u)
    const [before, after] = await Promise.all(
      ['web', 'again'].map(
        async (name) => (await connection.domains.describe(name)).devices.disks[0]?.file ?? '',
      ),
    )
    await runChecked('qemu-img', ['compare', '-f', 'qcow2', '-F', 'qcow2', before ?? '', after ?? ''])
    await runChecked('qemu-img', ['check', '-q', after ?? ''])
    await succeed('start', 'again')
    for (let tries = 0; tries < 600; tries++) {
      if (Buffer.from(await connection.domains.consoleLog('again')).includes('ready')) break
      assert.ok(tries < 599, "the machine that was imported did not say 'ready'")
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    await fails(/is running: its disks change/u, 'export', 'again', join(folder, 'again.ova'))
    await succeed('destroy', 'again')
    // Unpacked, and as VirtualBox and others have it: the files beside the OVF.
    const unpacked = join(folder, 'unpacked')
    await mkdir(unpacked)
    await runChecked('tar', ['-C', unpacked, '-xf', ova])
    await succeed('import', join(unpacked, 'web.ovf'), '--name', 'third', '--network', 'none')
    const volumes = async () => (await connection.volumes.list('default')).map(({ name }) => name).sort()
    const there = await volumes()
    assert.ok(
      there.includes('third-0.qcow2') && !there.some((name) => name.startsWith('import-')),
      String(there),
    )
    // Nothing is left of one that is damaged.
    const bytes = await readFile(ova)
    bytes[bytes.length - 5_000] = (bytes.at(-5_000) ?? 0) ^ 1
    const damaged = join(folder, 'damaged.ova')
    await writeFile(damaged, bytes)
    await fails(/not what its manifest says/u, 'import', damaged, '--name', 'fourth')
    await fails(
      /There is already a volume 'third-0\.qcow2'|already a domain/u,
      'import',
      ova,
      '--name',
      'third',
    )
    assert.deepEqual(await volumes(), there)
  })
})
