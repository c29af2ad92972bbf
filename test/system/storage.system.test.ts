/** Pools and volumes as people type them, and machines that have volumes as disks, with a real visord and QEMU. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { writeTestDisk } from '../../src/drivers/qemu/testing/test-guest.ts'
import { findProgram } from '../../src/host/index.ts'
import { type CommandOptions, type CommandResult, visorCommand } from '../fixtures/visor-command.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

const missing = ['qemu-system-x86_64', 'qemu-img'].map(async (program) =>
  (await findProgram(program)) ? [] : [program],
)
const skip = (await Promise.all(missing)).flat().join(', ')

describe('pools and volumes', { skip: skip !== '' && `not installed: ${skip}` }, () => {
  let visord: Visord
  let folder = ''
  let connection: CompleteConnection
  let visor: (args: readonly string[], options?: CommandOptions) => Promise<CommandResult>
  const succeed = async (...args: string[]) => {
    const result = await visor(args)
    assert.equal(result.code, 0, `visor ${args.join(' ')}: ${result.stderr}`)
    return result
  }
  const json = async (...args: string[]) => JSON.parse((await succeed(...args, '--json')).stdout)
  const fails = async (code: number, wanted: RegExp, ...args: string[]) => {
    const result = await visor(args)
    assert.equal(result.code, code, `visor ${args.join(' ')}: ${result.stderr}`)
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

  /** Waits for the greeting of the boot sector. */
  async function boots(name: string): Promise<void> {
    for (let tries = 0; tries < 600; tries++) {
      if (Buffer.from(await connection.domains.consoleLog(name)).includes('ready')) return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    assert.fail(`${name} did not say 'ready'`)
  }

  test('a pool is made, shown and printed for libvirt, and outlives visord', async () => {
    const path = join(folder, 'fast')
    assert.match((await succeed('pool', 'create', 'fast', path)).stderr, /pool fast is there: dir, .* free/u)
    assert.match((await succeed('pool', 'list')).stdout, /^default +active +dir.*\nfast +active +dir +0 /mu)
    assert.match((await succeed('pool', 'show', 'fast')).stdout, /autostart +yes/u)
    const xml = (await succeed('pool', 'show', 'fast', '--xml')).stdout
    assert.match(xml, /^<pool type='dir'>\n {2}<name>fast<\/name>/u)
    await fails(4, /There is already a pool 'fast'/u, 'pool', 'create', 'fast', join(folder, 'other'))
    await fails(4, /has the folder .* already/u, 'pool', 'create', 'other', path)
    await connection.close()
    await visord.stop()
    await visord.start()
    connection = await visord.connect()
    assert.equal((await connection.pools.get('fast')).active, true)
    const file = join(folder, 'lab.xml')
    await writeFile(file, xml.replaceAll('fast', 'lab').replace(/ {2}<uuid>.*\n/u, ''))
    await succeed('pool', 'define', file)
    await succeed('pool', 'start', 'lab', '--build')
    const editor = join(folder, 'editor.mjs')
    await writeFile(
      editor,
      `import { readFileSync, writeFileSync } from 'node:fs'
       const file = process.argv.at(-1)
       writeFileSync(file, readFileSync(file, 'utf8').replace('lab</path>', 'lab2</path>'))`,
    )
    await succeed('pool-destroy', 'lab')
    const edited = await visor(['pool-edit', 'lab'], { env: { EDITOR: `${process.execPath} ${editor}` } })
    assert.match(edited.stderr, /pool lab is changed/u)
    assert.match((await succeed('pool-info', 'lab')).stdout, /path +\S+\/lab2\n/u)
    await succeed('pool-start', 'lab', '--build')
    await succeed('pool', 'stop', 'lab')
    await succeed('pool', 'remove', 'lab', '--storage')
  })

  test('volumes are made, copied, linked, shown as a tree, resized and removed', async () => {
    await succeed('volume', 'create', 'base', '8MiB')
    await succeed('volume', 'clone', 'base.qcow2', 'top.qcow2', '--linked')
    await succeed('volume', 'clone', 'base.qcow2', 'fast/copy.raw')
    assert.match((await succeed('volume', 'list')).stdout, /^base\.qcow2 +qcow2 +8 MiB/mu)
    const tree = (await succeed('volume', 'list', '--tree')).stdout
    assert.match(tree, /^base\.qcow2 .*\n└─ top\.qcow2 .*\nfast\/copy\.raw /u)
    assert.equal((await json('volume', 'resize', 'top.qcow2', '+8MiB')).capacityBytes, 16 * 2 ** 20)
    await fails(4, /what others are based on: 'top\.qcow2'/u, 'volume', 'remove', 'base.qcow2')
    await fails(2, /would become smaller/u, 'volume', 'resize', 'top.qcow2', '1MiB')
    await fails(2, /names no volume/u, 'volume', 'show', '../x')
    assert.match((await succeed('vol-info', 'copy.raw', '--pool', 'fast')).stdout, /copy\.raw {2}raw\n/u)
    assert.match(
      (await succeed('vol-dumpxml', '--pool', 'fast', 'copy.raw')).stdout,
      /^<volume type='file'>/u,
    )
    await succeed('vol-delete', 'copy.raw', '--pool', 'fast')
    await succeed('volume', 'remove', 'top.qcow2', 'base.qcow2')
    assert.deepEqual(await connection.volumes.list('default'), [])
  })

  test('a machine boots from a volume of a pool, and gets another one while it runs', async () => {
    const disk = await connection.volumes.create('fast', { name: 'boot.raw', capacityBytes: 2 ** 20 })
    await writeTestDisk(disk.path)
    for (const name of ['one.iso', 'two.iso'])
      await writeFile(join(folder, 'fast', name), Buffer.alloc(2 ** 20, name))
    await succeed(
      'create',
      'web',
      '--memory',
      '32MiB',
      '--network',
      'none',
      '--disk',
      'boot.raw,pool=fast,readonly',
      '--disk',
      'one.iso,pool=fast,device=cdrom',
    )
    await boots('web')
    const xml = (await succeed('dumpxml', 'web', '--inactive')).stdout
    assert.match(xml, /<disk type='volume' device='disk'>[\s\S]*<source pool='fast' volume='boot.raw'\/>/u)
    assert.match((await succeed('dumpxml', 'web')).stdout, new RegExp(`<source file='${disk.path}'`, 'u'))
    await fails(4, /belongs to 'web'/u, 'volume', 'remove', 'fast/boot.raw')
    const drive = (await connection.domains.describe('web')).devices.disks[1]?.target ?? ''
    await succeed('change-media', 'web', drive, 'two.iso', '--pool', 'fast', '--live', '--config')
    assert.match((await succeed('dumpxml', 'web')).stdout, /<source file='[^']*\/fast\/two.iso'/u)
    assert.match((await succeed('dumpxml', 'web', '--inactive')).stdout, /volume='two.iso'/u)
    await succeed('volume', 'remove', 'fast/one.iso')
    await fails(3, /There is no volume/u, 'change-media', 'web', drive, 'one.iso', '--pool', 'fast')
    await succeed('change-media', 'web', drive, '--eject', '--live', '--config')
    await succeed('volume', 'remove', 'fast/two.iso')
    await fails(4, /is used by 'web', which runs/u, 'volume', 'wipe', 'fast/boot.raw')
    await connection.volumes.create('fast', { name: 'data.qcow2', capacityBytes: 8 * 2 ** 20 })
    await succeed('attach', 'web', '--disk', 'data.qcow2,pool=fast')
    const { devices } = await connection.domains.describe('web')
    const added = devices.disks.find(({ target }) => target === 'vdb')
    assert.deepEqual([added?.type, added?.format], ['file', 'qcow2'])
    await succeed('create', 'big', '--no-start', '--disk', '16MiB,pool=fast')
    assert.equal((await connection.volumes.get('fast', 'big-0.qcow2')).capacityBytes, 16 * 2 ** 20)
    await succeed('undefine', 'big', '--disks')
    await fails(3, /There is no volume/u, 'volume', 'show', 'fast/big-0.qcow2')
    await connection.domains.destroy('web')
    await connection.domains.undefine('web')
  })

  test('a machine is made from an image: its disk is a copy that shares it', async () => {
    const file = join(folder, 'tiny.raw')
    await writeTestDisk(file)
    assert.match((await succeed('image', 'import', file)).stderr, /image tiny \(\w+, .*\) is there/u)
    await succeed(
      'create',
      'tim',
      '--image',
      'tiny',
      '--memory',
      '32MiB',
      '--network',
      'none',
      '--disk',
      '8MiB',
    )
    await boots('tim')
    const { devices } = await connection.domains.describe('tim')
    const volume = await connection.volumes.find({ path: devices.disks[0]?.file ?? '' })
    assert.deepEqual([volume.name, volume.capacityBytes], ['tim-0.qcow2', 8 * 2 ** 20])
    assert.match(volume.base?.volume ?? '', /^image-tiny-/u)
    await succeed('undefine', '--force', '--disks', 'tim')
    const left = await connection.volumes.list('default')
    assert.deepEqual(
      left.map(({ name }) => name),
      [volume.base?.volume],
    )
  })

  test('a machine whose volume is not there says so before anything starts', async () => {
    await succeed('create', 'lost', '--no-start', '--disk', 'gone.qcow2,pool=fast')
    await fails(3, /There is no volume 'fast\/gone\.qcow2'/u, 'start', 'lost')
    await connection.pools.destroy('fast')
    await assert.rejects(connection.domains.start('lost'), /The pool 'fast' is not active/u)
  })
})
