/** What visor writes of a disk by itself, read by the tools of others. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, open, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { run } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { placeBootSectors } from './boot-sectors.ts'
import { formatFatVolume } from './fat-volume.ts'
import { formatPartitionTable, lastUsableSector, partitionTypes } from './partition-table.ts'
import { makeRootFileSystem } from './root-file-system.ts'

const missing = async (program: string, name: string) =>
  run(program, ['--version']).then(
    () => false as const,
    () => `${program} is not installed: install ${name}`,
  )

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'visor-test-disk-format-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const uuid = (digit: string) => `${digit.repeat(8)}-2222-8333-8444-555555555555`

test('a partition table is what sfdisk reads as one', {
  skip: await missing('sfdisk', 'fdisk'),
}, async (t) => {
  const file = join(await folderOf(t), 'disk')
  const sectors = 200_000
  const last = lastUsableSector(sectors)
  const { primary, backup } = formatPartitionTable(
    { sectors, uuid: uuid('a'), bootCode: Buffer.alloc(512, 0x90) },
    [
      {
        ...{ number: 1, type: partitionTypes.linuxRootX64, uuid: uuid('b'), name: 'root' },
        ...{ firstSector: 4096, sectors: last - 4096 + 1 },
      },
      {
        ...{ number: 14, type: partitionTypes.biosBoot, uuid: uuid('c'), name: 'boot' },
        ...{ firstSector: 2048, sectors: 2048 },
      },
    ],
  )
  const disk = Buffer.alloc(sectors * 512)
  primary.copy(disk)
  backup.copy(disk, disk.length - backup.length)
  await writeFile(file, disk)
  const { stdout, stderr } = await run('sfdisk', ['--json', file])
  const { partitiontable: table } = JSON.parse(stdout)
  assert.equal(stderr, '')
  assert.deepEqual([table.label, table.id, table.lastlba], ['gpt', uuid('a').toUpperCase(), last])
  assert.deepEqual(
    table.partitions.map((one: Record<string, unknown>) => [
      one.start,
      one.size,
      one.type,
      one.uuid,
      one.name,
    ]),
    [
      [4096, last - 4095, partitionTypes.linuxRootX64.toUpperCase(), uuid('b').toUpperCase(), 'root'],
      [2048, 2048, partitionTypes.biosBoot.toUpperCase(), uuid('c').toUpperCase(), 'boot'],
    ],
  )
  // The copy at the end is one that a table can be had back from.
  disk.fill(0, 512, 1024)
  await writeFile(file, disk)
  assert.match((await run('sfdisk', ['--json', file])).stdout, new RegExp(uuid('b').toUpperCase(), 'u'))
  assert.throws(
    () =>
      formatPartitionTable({ sectors, uuid: uuid('a'), bootCode: Buffer.alloc(0) }, [
        {
          ...{ number: 1, type: partitionTypes.biosBoot, uuid: uuid('b'), name: '' },
          ...{ firstSector: 4096, sectors },
        },
      ]),
    RangeError,
  )
})

test('a FAT volume is what mtools read', { skip: await missing('mtype', 'mtools') }, async (t) => {
  const file = join(await folderOf(t), 'efi')
  const content = Buffer.from(Array.from({ length: 70_001 }, (_, index) => index % 251))
  const files = {
    'EFI/BOOT/BOOTX64.EFI': content,
    'EFI/A.TXT': Buffer.from('hello\n'),
    'B.TXT': Buffer.alloc(0),
  }
  await writeFile(file, formatFatVolume({ sectors: 65_536, serial: 0x12345678, label: 'EFI', files }))
  const list = await run('mdir', ['-/', '-b', '-i', file, '::'])
  assert.deepEqual(list.stdout.trim().split('\n').sort(), [
    '::/B.TXT',
    '::/EFI/',
    '::/EFI/A.TXT',
    '::/EFI/BOOT/',
    '::/EFI/BOOT/BOOTX64.EFI',
  ])
  const copy = join(file, '..', 'copy')
  assert.equal((await run('mcopy', ['-i', file, '::EFI/BOOT/BOOTX64.EFI', copy])).code, 0)
  assert.deepEqual(await readFile(copy), content)
  assert.equal((await run('mtype', ['-i', file, '::EFI/A.TXT'])).stdout, 'hello\n')
  assert.match((await run('minfo', ['-i', file, '::'])).stdout, /serial number: 12345678/u)
  const large = { 'A.BIN': Buffer.alloc(33 * 2 ** 20) }
  assert.throws(() => formatFatVolume({ sectors: 65_536, serial: 1, label: 'EFI', files: large }), RangeError)
  assert.throws(() => formatFatVolume({ sectors: 4096, serial: 1, label: 'EFI', files: {} }), RangeError)
})

test('a file system has the same bytes for the same files, whenever they were written', {
  skip: await missing('mke2fs', 'e2fsprogs'),
}, async (t) => {
  const scratch = await folderOf(t)
  const epoch = 1_700_000_000
  const make = async (name: string, names: readonly string[]) => {
    const folder = join(scratch, name)
    await mkdir(join(folder, 'etc'), { recursive: true })
    for (const one of names) await writeFile(join(folder, 'etc', one), `${one}\n`.repeat(3000))
    await symlink('etc/a', join(folder, 'link'))
    const file = join(scratch, `${name}.raw`)
    const handle = await open(file, 'wx')
    await handle.truncate(40 * 2 ** 20)
    await handle.close()
    await makeRootFileSystem({
      ...{ folder, file, epoch, scratch, offset: 2 ** 20, sizeBytes: 38 * 2 ** 20, uuid: uuid('d') },
    })
    return readFile(file)
  }
  const first = await make('one', ['a', 'b', 'c'])
  const second = await make('two', ['c', 'b', 'a'])
  assert.ok(first.equals(second))
  // With checksums that are right: the file system begins at 1 MiB.
  const alone = join(scratch, 'alone')
  await writeFile(alone, first.subarray(2 ** 20, 39 * 2 ** 20))
  const check = await run('e2fsck', ['-f', '-n', alone])
  assert.equal(check.code, 0, check.stdout)
  const shown = await run('debugfs', ['-R', 'stat /etc/a', alone])
  assert.match(shown.stdout, /ctime: 0x6553f100:00000000[\s\S]*crtime: 0x6553f100:00000000/u)
  await writeFile(join(scratch, 'one/etc/large'), Buffer.alloc(60 * 2 ** 20, 1))
  await rm(join(scratch, 'one/link'))
  await rm(join(scratch, 'one.raw'))
  await assert.rejects(
    () => make('one', []),
    (error: unknown) => error instanceof VisorError && error.code === 'invalid-argument',
  )
})

test('boot sectors are told where the rest lies, and other files are no boot sectors', () => {
  const boot = Buffer.alloc(512)
  boot.writeUInt16LE(0xaa55, 510)
  const core = Buffer.alloc(1300, 7)
  core.writeUInt16LE(0x820, 510)
  const placed = placeBootSectors(boot, core, 2048)
  assert.equal(placed.bootCode.readBigUInt64LE(0x5c), 2048n)
  assert.equal(placed.core.length, 1536)
  assert.equal(placed.core.readBigUInt64LE(500), 2049n)
  assert.equal(placed.core.readUInt16LE(508), 2)
  assert.throws(() => placeBootSectors(Buffer.alloc(512), core, 2048), VisorError)
  assert.throws(() => placeBootSectors(boot, Buffer.alloc(1300), 2048), VisorError)
})
