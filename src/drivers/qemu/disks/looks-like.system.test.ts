/** A raw disk whose content looks like an image of another format is raw, whatever is done to it. */
import assert from 'node:assert/strict'
import { copyFile, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { runChecked } from '../../../host/index.ts'
import { type DiskGround, disksMissing, openDiskGround } from '../testing/test-disk-ground.ts'

const size = 16 * 2 ** 20
/** A file that none of these disks may get at. */
const secret = '/etc/passwd'

describe('raw disks that look like something else', { skip: await disksMissing() }, () => {
  let ground: DiskGround

  before(async () => {
    ground = await openDiskGround()
  })
  after(() => ground.close())

  const description = [
    '# Disk DescriptorFile',
    'version=1',
    'CID=fffffffe',
    'parentCID=fffffffe',
    'createType="monolithicFlat"',
    `parentFileNameHint="${secret}"`,
    `RW 1 FLAT "${secret}" 0`,
  ]
  const makers: Record<string, (path: string) => Promise<unknown>> = {
    qcow2: (path) =>
      runChecked('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', '-b', secret, '-F', 'raw', path, '16M']),
    vmdk: (path) => writeFile(path, `${description.join('\n')}\n`),
    luks: (path) =>
      writeFile(path, Buffer.concat([Buffer.from('LUKS\xba\xbe\0\x01', 'latin1'), Buffer.alloc(600, 'a')])),
  }

  /** A file of the size of a disk, with what looks like that format at its beginning. */
  async function disguise(path: string, as: string): Promise<Buffer> {
    const made = join(ground.directory, `made.${as}`)
    await makers[as]?.(made)
    await copyFile(made, path)
    await rm(made)
    await truncate(path, size)
    return head(path)
  }

  async function head(path: string, bytes = 1024): Promise<Buffer> {
    const file = await open(path, 'r')
    try {
      return (await file.read(Buffer.alloc(bytes), 0, bytes, 0)).buffer
    } finally {
      await file.close()
    }
  }

  async function infoOf(path: string) {
    const { stdout } = await runChecked('qemu-img', ['info', '-U', '--output=json', '-f', 'qcow2', path])
    return JSON.parse(stdout) as Record<string, unknown>
  }

  /** What a guest sees of a qcow2 image, read as what it is. */
  async function contentOf(path: string): Promise<Buffer> {
    const raw = join(ground.directory, 'content')
    const source = ['-f', 'qcow2', '-O', 'raw']
    await runChecked('qemu-img', ['convert', '-q', ...source, path, raw])
    return head(raw).finally(() => rm(raw))
  }

  /** Says raw of what is below, in the file itself, which other programs read too. */
  async function isOnRaw(path: string, base: string): Promise<void> {
    const facts = await infoOf(path)
    assert.deepEqual([facts['backing-filename'], facts['backing-filename-format']], [base, 'raw'])
  }

  for (const as of Object.keys(makers)) {
    test(`${as}: while it runs`, async () => {
      const { domains, snapshots, blocks } = ground.connection
      const uuid = await ground.define('raw')
      const [file = ''] = await ground.filesOf(uuid)
      const content = await disguise(file, as)
      const first = content.toString('latin1', 0, 1)
      const guest = await ground.boot(uuid)
      const isSame = async () => {
        assert.equal(await guest.read(1, 'a'), first)
        const { devices } = await domains.describe(uuid)
        return devices.disks.find(({ target }) => target === 'vdb')
      }
      await isSame()

      // An overlay, which goes again.
      await snapshots.create(uuid, { name: 'one', diskOnly: true })
      const [overlay = ''] = await ground.filesOf(uuid)
      await isOnRaw(overlay, file)
      await isSame()
      await guest.write(1, 'b', '1')
      await snapshots.remove(uuid, 'one', { metadataOnly: true })
      await blocks.commit(uuid, { disk: 'vdb' })
      assert.equal((await isSame())?.format, 'raw')
      assert.ok((await head(file)).equals(content))
      assert.equal(await guest.read(1, 'b'), '1')

      // Copies: one that is left, a shallow one, and one that it goes on with.
      const at = (name: string) => join(ground.directory, `${as}-${name}`)
      await blocks.copy(uuid, { disk: 'vdb', file: at('copy.raw'), format: 'raw' })
      assert.ok((await head(at('copy.raw'))).equals(content))
      await blocks.backup(uuid, { disks: [{ disk: 'vdb', file: at('backup') }] })
      assert.ok((await contentOf(at('backup'))).equals(content))
      await snapshots.create(uuid, { name: 'two', diskOnly: true })
      await snapshots.remove(uuid, 'two', { metadataOnly: true })
      await blocks.copy(uuid, { disk: 'vdb', file: at('shallow'), format: 'qcow2', shallow: true })
      await isOnRaw(at('shallow'), file)
      await blocks.copy(uuid, { disk: 'vdb', file: at('moved'), format: 'raw', pivot: true })
      assert.equal((await isSame())?.format, 'raw')
      assert.ok((await head(at('moved'))).equals(content))

      // Served: the scratch image is on it.
      const abort = new AbortController()
      const serving = Promise.withResolvers<void>()
      const server = at('nbd.sock')
      const call = { server, signal: abort.signal, progress: () => serving.resolve() }
      const served = blocks.backup(uuid, call)
      await Promise.race([serving.promise, served])
      const nbd = `driver=nbd,server.type=unix,server.path=${server},export=vdb`
      const read = await runChecked('qemu-io', [
        ...['-r', '--image-opts', nbd],
        ...['-c', `read -P 0x${content.toString('hex', 0, 1)} 0 1`],
      ])
      abort.abort()
      await served
      assert.doesNotMatch(read.stdout, /failed/u)

      // One that is plugged in, and a medium.
      const plugged = at('plugged.raw')
      await disguise(plugged, as)
      const disks = [{ target: 'vdc', file: plugged }]
      await domains.attachDevice(uuid, { device: { disks } })
      const { devices } = await domains.describe(uuid)
      assert.equal(devices.disks.find(({ target }) => target === 'vdc')?.format, 'raw')
      await guest.close()
      await domains.destroy(uuid)
      assert.ok((await head(plugged)).equals(content))
      assert.ok((await readFile(at('moved'))).subarray(0, 1024).equals(content))
    })

    test(`${as}: in media, snapshots of what is off, clones and templates`, async () => {
      const { domains, snapshots, templates } = ground.connection
      const uuid = await ground.define('raw')
      const [file = ''] = await ground.filesOf(uuid)
      const content = await disguise(file, as)
      const first = content.toString('latin1', 0, 1)
      await snapshots.create(uuid, { name: 'off', kind: 'external', diskOnly: true })
      const [overlay = ''] = await ground.filesOf(uuid)
      await isOnRaw(overlay, file)
      await snapshots.remove(uuid, 'off')
      assert.deepEqual(await ground.filesOf(uuid), [file])
      assert.ok((await head(file)).equals(content))

      const whole = await domains.clone(uuid, { name: `${as}-whole` })
      const [copy = ''] = await ground.filesOf(whole.uuid)
      assert.ok((await head(copy)).equals(content))
      const linked = await domains.clone(whole.uuid, { name: `${as}-linked`, linked: true })
      const [onTop = ''] = await ground.filesOf(linked.uuid)
      await isOnRaw(onTop, copy)
      const other = await ground.boot(linked.uuid)
      assert.equal(await other.read(1, 'a'), first)
      await other.close()
      await domains.destroy(linked.uuid)

      // A medium of another content, changed while it runs.
      const medium = join(ground.directory, `${as}.iso`)
      await disguise(medium, as)
      const before = await domains.describe(uuid)
      const drive = { target: 'sda', device: 'cdrom', bus: 'sata' } as const
      const disks = [...before.devices.disks, drive]
      await domains.define({ ...before, devices: { ...before.devices, disks } })
      const guest = await ground.boot(uuid)
      await domains.updateDevice(uuid, { device: { disks: [{ ...drive, file: medium }] } })
      const inside = (await domains.describe(uuid)).devices.disks.find(({ target }) => target === 'sda')
      assert.deepEqual([inside?.file, inside?.format], [medium, 'raw'])
      const [stats] = await domains.stats({ domains: [uuid] })
      const seen = stats?.blocks.find(({ name }) => name === 'sda')
      assert.equal(seen?.capacityBytes, size)

      await domains.updateDevice(uuid, { device: { disks: [drive] } })
      await templates.create(`${as}-template`, { domain: uuid })
      const clones = await templates.clone(`${as}-template`, { count: 1 })
      for (const one of [uuid, ...clones.map((clone) => clone.uuid)]) {
        const talk = await ground.talk(one)
        assert.equal(await talk.read(1, 'a'), first)
        await talk.close()
        const { devices } = await domains.describe(one)
        const top = devices.disks.find(({ target }) => target === 'vdb')?.file ?? ''
        assert.equal((await infoOf(top))['backing-filename-format'], 'raw')
      }
      await guest.close()
      for (const one of [uuid, ...clones.map((clone) => clone.uuid)]) await domains.destroy(one)
      assert.ok((await head(file)).equals(content))
      assert.deepEqual(
        (await readdir(ground.directory)).filter((name) => name.startsWith('made')),
        [],
      )
    })
  }
})
