/** Devices plugged into real guests and out of them. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import { run } from '../../../host/index.ts'
import { buildTestImage } from '../../../storage/testing/test-images.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../testing/test-guest.ts'
import { openTerminal, prompt, type Terminal } from '../testing/test-terminal.ts'

const skip = (await findProgram('qemu-system-x86_64')) ? false : 'qemu-system-x86_64 is not installed'

describe('devices of running machines', { skip }, () => {
  let directory = ''
  let connection: CompleteConnection
  let uuid = ''
  let shell: Terminal
  const at = (name: string) => join(directory, name)

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-plug-'))
    const image = await buildTestImage(directory)
    const { kernel, initrd, commandLine } = image
    connection = await openTestDriver(directory)
    const cdrom = { target: 'sda', device: 'cdrom', bus: 'sata' } as const
    const domain = await connection.domains.define({
      type: 'qemu',
      name: 'plugged',
      memoryKiB: 262_144,
      os: { kernel, initrd, commandLine },
      devices: { serials: [{}], disks: [cdrom], interfaces: [{ type: 'user' }] },
    })
    uuid = domain.uuid
    await connection.domains.start(uuid)
    shell = openTerminal(await connection.domains.openConsole(uuid, { scrollback: true }))
    await shell.until(prompt)
  })
  after(async () => {
    await shell.close()
    await connection.domains.destroy(uuid).catch(() => {})
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  const targets = async (inactive = false) =>
    (await connection.domains.describe(uuid, { inactive })).devices.disks.map(({ target }) => target)
  /** Asks the guest until it says so. */
  async function says(command: string, expected: RegExp): Promise<string> {
    for (let tries = 0; tries < 100; tries++) {
      const answer = await shell.ask(command)
      if (expected.test(answer)) return answer
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    assert.fail(`'${command}' never said ${expected}`)
  }

  test('a disk comes, is written and read, and goes with all that was written', async () => {
    const file = at('a disk, "new".qcow2')
    assert.equal((await run('qemu-img', ['create', '-q', '-f', 'qcow2', file, '8M'])).code, 0)
    const device = { disks: [{ target: 'vdb', file, format: 'qcow2' as const, serial: 'NEW' }] }
    await connection.domains.attachDevice(uuid, { device })
    assert.deepEqual(await targets(), ['sda', 'vdb'])
    assert.deepEqual(await targets(true), ['sda'], 'the definition of the next start stays')
    await says('cat /sys/block/vda/size', /^16384\r/mu)
    await shell.ask('echo was-written | dd of=/dev/vda bs=512 conv=sync 2>/dev/null; sync')
    await assert.rejects(connection.domains.attachDevice(uuid, { device }), { code: 'invalid-definition' })
    const [stats] = await connection.domains.stats({ domains: [uuid] })
    assert.ok((stats?.blocks.find(({ name }) => name === 'vdb')?.writeBytes ?? 0) >= 512)
    await connection.domains.detachDevice(uuid, { device: { disks: [{ target: 'vdb' }] } })
    await says('ls /sys/block', /=\d+=/u)
    assert.deepEqual(await targets(), ['sda'])
    assert.equal((await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', file, at('raw')])).code, 0)
    assert.equal((await readFile(at('raw'))).toString('latin1', 0, 11), 'was-written')
    await connection.domains.attachDevice(uuid, { device })
    await says('dd if=/dev/vda bs=512 count=1 2>/dev/null', /was-written/u)
    await connection.domains.detachDevice(uuid, { device: { disks: [{ target: 'vdb' }] } })
  })

  test('a card, a source of randomness and a USB stick come and go; the cable is pulled', async () => {
    await connection.domains.updateDevice(uuid, {
      device: { interfaces: [{ type: 'user', link: 'down', mac: await macOf() }] },
    })
    await says('ip link set eth0 up; cat /sys/class/net/eth0/carrier', /^0\r/mu)
    await connection.domains.updateDevice(uuid, {
      device: { interfaces: [{ type: 'user', link: 'up', mac: await macOf() }] },
    })
    await says('cat /sys/class/net/eth0/carrier', /^1\r/mu)
    const mac = '52:54:00:aa:bb:cc'
    await connection.domains.attachDevice(uuid, { device: { interfaces: [{ type: 'user', mac }] } })
    await says('cat /sys/class/net/*/address', /52:54:00:aa:bb:cc/u)
    await connection.domains.detachDevice(uuid, { device: { interfaces: [{ type: 'user', mac }] } })
    await says('cat /sys/class/net/*/address', /^(?!.*52:54:00:aa:bb:cc)/su)
    await connection.domains.attachDevice(uuid, { device: { rngs: [{ backend: 'builtin' }] } })
    await says('cat /sys/bus/virtio/devices/*/device', /^0x0004\r/mu)
    await connection.domains.detachDevice(uuid, { device: { rngs: [{}] } })
    await says('cat /sys/bus/virtio/devices/*/device', /^(?!.*0x0004)/su)
    // With the controller that it needs.
    await writeFile(at('stick.raw'), Buffer.alloc(2 ** 20))
    const stick = { disks: [{ target: 'sdb', bus: 'usb' as const, file: at('stick.raw') }] }
    await connection.domains.attachDevice(uuid, { device: stick })
    await says('cat /sys/bus/pci/devices/*/class', /0x0c0330/u)
    await connection.domains.detachDevice(uuid, { device: stick })
    const { devices } = await connection.domains.describe(uuid)
    assert.deepEqual([devices.interfaces.length, devices.rngs.length, devices.disks.length], [1, 0, 1])
    async function macOf() {
      return (await connection.domains.describe(uuid)).devices.interfaces[0]?.mac ?? ''
    }
  })

  test('a medium is changed; what runs cannot change otherwise', async () => {
    await writeFile(at('one.iso'), Buffer.alloc(4096, 'first '))
    await writeFile(at('two.iso'), Buffer.alloc(8192, 'second '))
    const medium = (file?: string) => ({
      device: {
        disks: [
          { target: 'sda', device: 'cdrom' as const, ...(file === undefined ? {} : { file: at(file) }) },
        ],
      },
    })
    const inside = async () =>
      (await connection.domains.describe(uuid)).devices.disks.find(({ target }) => target === 'sda')?.file
    await connection.domains.updateDevice(uuid, medium('one.iso'))
    assert.equal(await inside(), at('one.iso'))
    await connection.domains.updateDevice(uuid, { ...medium('two.iso'), config: true, live: true })
    assert.equal(await inside(), at('two.iso'))
    assert.equal(
      (await connection.domains.describe(uuid, { inactive: true })).devices.disks[0]?.file,
      at('two.iso'),
    )
    await connection.domains.updateDevice(uuid, medium())
    assert.equal(await inside(), undefined)
    await assert.rejects(connection.domains.updateDevice(uuid, medium('nosuch.iso')), { code: 'not-found' })
    assert.equal(await inside(), undefined)
    await assert.rejects(
      connection.domains.updateDevice(uuid, {
        device: { disks: [{ target: 'sda', device: 'cdrom', serial: 'OTHER' }] },
      }),
      { code: 'unsupported-config', message: /serial/u },
    )
  })

  test('it is saved with what was plugged in, and a daemon that comes later goes on', async () => {
    const file = at('saved.raw')
    await writeFile(file, Buffer.alloc(2 ** 20))
    await connection.domains.attachDevice(uuid, { device: { disks: [{ target: 'vdb', file }] } })
    await shell.ask('echo kept | dd of=/dev/vda bs=512 conv=sync 2>/dev/null')
    await connection.close()
    connection = await openTestDriver(directory)
    assert.deepEqual(await targets(), ['sda', 'vdb'])
    await connection.domains.save(uuid)
    await connection.domains.start(uuid)
    assert.deepEqual(await targets(), ['sda', 'vdb'])
    shell = openTerminal(await connection.domains.openConsole(uuid))
    await says('dd if=/dev/vda bs=512 count=1 2>/dev/null', /kept/u)
    await connection.domains.detachDevice(uuid, { device: { disks: [{ target: 'vdb' }] } })
    assert.deepEqual(await targets(), ['sda'])
  })

  test('the definition alone, and both at once or neither', async () => {
    await writeFile(at('config.raw'), Buffer.alloc(2 ** 20))
    const device = { disks: [{ target: 'vdc', file: at('config.raw') }] }
    await connection.domains.attachDevice(uuid, { device, config: true })
    assert.deepEqual([await targets(), await targets(true)], [['sda'], ['sda', 'vdc']])
    // In the definition it is there already, so nothing is plugged in either.
    await assert.rejects(connection.domains.attachDevice(uuid, { device, config: true, live: true }))
    assert.deepEqual([await targets(), await targets(true)], [['sda'], ['sda', 'vdc']])
    await connection.domains.detachDevice(uuid, { device, config: true })
    assert.deepEqual(await targets(true), ['sda'])
    await assert.rejects(connection.domains.detachDevice(uuid, { device }), { code: 'not-found' })
    await assert.rejects(connection.domains.attachDevice(uuid, { device: {} }), { code: 'invalid-argument' })
    const missing = { disks: [{ target: 'vdd', file: at('nosuch') }] }
    await assert.rejects(connection.domains.attachDevice(uuid, { device: missing }), { code: 'not-found' })
    const screen = { videos: [{ model: 'vga' as const }] }
    await assert.rejects(connection.domains.attachDevice(uuid, { device: screen }))
    assert.deepEqual(await targets(), ['sda'])
  })

  test('ports run out with a word that helps; a guest that does not listen keeps what it has', async () => {
    const disk = at('boot.raw')
    await writeTestDisk(disk)
    await writeFile(at('more.raw'), Buffer.alloc(2 ** 20))
    const { uuid: deaf } = await connection.domains.define(testDefinition('deaf', disk))
    await connection.domains.start(deaf)
    try {
      const more = (target: string) => ({
        device: { disks: [{ target, file: at('more.raw'), readonly: true }] },
      })
      await connection.domains.attachDevice(deaf, more('vdb'))
      await connection.domains.attachDevice(deaf, more('vdc'))
      await assert.rejects(connection.domains.attachDevice(deaf, more('vdd')), {
        code: 'invalid-state',
        message: /no free port/u,
      })
      await connection.domains.attachDevice(deaf, { ...more('vdd'), config: true })
    } finally {
      await connection.domains.destroy(deaf)
    }
    await connection.domains.start(deaf)
    await connection.domains.destroy(deaf)
  })
})
