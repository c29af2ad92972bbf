/** Pools that are file systems: made, mounted, copied in and unmounted, where nobody else sees it. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { open, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { isOnTestHost, missingForTestHost, onTestHost } from '../../../test/fixtures/test-host.ts'
import { run } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { openForTest, type TestStorage } from '../testing/open-for-test.ts'

const mebibyte = 2 ** 20
const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted

/** An image file stands for the block device: it is mounted by a loop device, which ends with the mount. */
async function makeDevice(folder: string, name: string, sizeMiB: number): Promise<string> {
  const file = join(folder, name)
  await writeFile(file, '')
  await truncate(file, sizeMiB * mebibyte)
  return file
}

async function tryFileSystem(storage: TestStorage, format: string, sizeMiB: number): Promise<void> {
  const { connection, folder } = storage
  const { pools, volumes } = connection
  const device = await makeDevice(folder, `${format}.img`, sizeMiB)
  const path = join(folder, `mnt ${format}`)
  const source = { devices: [{ path: device }], format }
  await pools.define({ type: 'fs', name: format, path, source, mountOptions: ['noatime'] })
  await assert.rejects(pools.start(format), /cannot be mounted/u)
  await pools.build(format)
  // What is there is kept; what is not of this kind is not written over.
  await pools.build(format)
  await pools.start(format)
  const { capacityBytes = 0, availableBytes = 0 } = await pools.get(format)
  assert.ok(capacityBytes > 0 && capacityBytes <= sizeMiB * mebibyte && availableBytes > 0)
  assert.match(await readFile('/proc/self/mounts', 'utf8'), /mnt\\040\w+ \w+ \S*noatime/u)
  const made = await volumes.create(format, { name: 'a.raw', capacityBytes: 16 * mebibyte })
  await writeFile(made.path, randomBytes(8 * mebibyte), { flag: 'r+' })
  await volumes.clone(format, 'a.raw', { name: 'b.raw' })
  const copy = await volumes.get(format, 'b.raw')
  assert.ok((await readFile(made.path)).equals(await readFile(copy.path)))
  if (format === 'btrfs' || format === 'xfs') {
    const { stdout } = await run('filefrag', ['-v', copy.path])
    assert.match(stdout, /shared/u, `${format} shares blocks`)
  }
  // A daemon that comes later finds it mounted.
  const later = await storage.reopen()
  assert.equal((await later.connection.pools.get(format)).volumes, 2)
  await later.connection.pools.destroy(format)
  assert.doesNotMatch(await readFile('/proc/self/mounts', 'utf8'), new RegExp(`mnt\\\\040${format} `, 'u'))
  await assert.rejects(stat(made.path), { code: 'ENOENT' })
  await later.connection.pools.start(format)
  assert.equal((await later.connection.volumes.list(format)).length, 2)
  await later.connection.pools.destroy(format)
  await later.connection.pools.undefine(format)
}

async function refusesToLose(storage: TestStorage): Promise<void> {
  const { pools } = storage.connection
  const device = await makeDevice(storage.folder, 'taken.img', 64)
  await run('mkfs.ext4', ['-q', device])
  const path = join(storage.folder, 'taken')
  await pools.define({
    type: 'fs',
    name: 'taken',
    path,
    source: { devices: [{ path: device }], format: 'ext3' },
  })
  await assert.rejects(pools.build('taken'), code('already-exists'))
  await pools.build('taken', { overwrite: true })
  await pools.start('taken')
  await pools.destroy('taken')
  await pools.undefine('taken')
}

async function isBusyWhileUsed(storage: TestStorage): Promise<void> {
  const { pools, volumes } = storage.connection
  const device = await makeDevice(storage.folder, 'busy.img', 64)
  const path = join(storage.folder, 'busy')
  await pools.define({
    type: 'fs',
    name: 'busy',
    path,
    source: { devices: [{ path: device }], format: 'ext4' },
  })
  await pools.build('busy')
  await pools.start('busy')
  const { path: file } = await volumes.create('busy', { name: 'a.raw', capacityBytes: mebibyte })
  const handle = await open(file)
  await assert.rejects(pools.destroy('busy'), code('busy'))
  assert.equal((await volumes.list('busy')).length, 1)
  await handle.close()
  await pools.destroy('busy')
}

if (isOnTestHost()) {
  for (const [format, sizeMiB] of [
    ['ext4', 64],
    ['xfs', 320],
    ['btrfs', 128],
  ] as const) {
    const storage = await openForTest()
    await tryFileSystem(storage, format, sizeMiB)
    await storage.close()
  }
  const storage = await openForTest()
  await refusesToLose(storage)
  await isBusyWhileUsed(storage)
  await storage.close()
} else
  test('a file system is a pool: made, mounted, copied in by sharing blocks, found again, unmounted', {
    skip: missingForTestHost([
      'unshare',
      'mount',
      'mkfs.ext4',
      'mkfs.xfs',
      'mkfs.btrfs',
      'blkid',
      'filefrag',
    ]),
  }, async () => {
    await onTestHost(import.meta.filename)
  })
