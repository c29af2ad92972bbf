/** What guests are told at their first boot, as people type it, and as a guest reads it; with a real visord and QEMU. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { openTerminal, prompt, type Terminal } from '../../src/drivers/qemu/testing/test-terminal.ts'
import { VisorError } from '../../src/model/index.ts'
import { buildTestImage } from '../../src/storage/testing/test-images.ts'
import { type CommandResult, visorCommand } from '../fixtures/visor-command.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

const skip = spawnSync('qemu-system-x86_64', ['--version']).error && 'qemu-system-x86_64 is not installed'
const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ann@home'

describe('the first boot', { skip }, () => {
  let visord: Visord
  let folder = ''
  let connection: CompleteConnection
  let visor: (...args: string[]) => Promise<CommandResult>

  before(async () => {
    visord = await startVisord({ drivers: ['qemu'] })
    folder = join(visord.directories.state, '..')
    const command = visorCommand(visord.directories)
    visor = (...args) => command(args, { cwd: folder })
    await buildTestImage(visord.directories.state)
    connection = await visord.connect()
    await writeFile(join(folder, 'id.pub'), `${key}\n`)
    await writeFile(join(folder, 'password'), 'correct horse\n')
    await writeFile(join(folder, 'user-data.sh'), '#!/bin/sh\necho größer\n')
    await writeFile(join(folder, 'core.ign'), '{"ignition":{"version":"3.4.0"}}')
    await writeFile(join(folder, 'wrong.yaml'), '#cloud-config\npakages: [nginx]\n')
  })
  after(async () => {
    for (const { uuid, state } of await connection.domains.list())
      if (state !== 'shutoff') await connection.domains.destroy(uuid)
    await connection.close()
    await visord.dispose()
  })

  // One that fails leaves nothing to the next.
  afterEach(async () => {
    for (const { name } of await connection.domains.list())
      await visor('undefine', name, '--force', '--disks')
  })

  const succeed = async (...args: string[]) => {
    const result = await visor(...args)
    assert.equal(result.code, 0, `visor ${args.join(' ')}: ${result.stderr}`)
    return result
  }
  const fails = async (code: number, wanted: RegExp, ...args: string[]) => {
    const result = await visor(...args)
    assert.equal(result.code, code, `visor ${args.join(' ')}: ${result.stderr}`)
    assert.match(result.stderr, wanted)
  }
  const volumes = async () => (await connection.volumes.list('default')).map(({ name }) => name)

  /** What a serial port on a busy host prints is at times not what was written: then it is asked again. */
  async function reads(terminal: Terminal, command: string, wanted: RegExp): Promise<void> {
    let said = await terminal.ask(command)
    for (let tries = 0; tries < 5 && !wanted.test(said); tries++) said = await terminal.ask(command)
    assert.match(said, wanted)
  }

  /** The shell of a guest that has its seed on /mnt. */
  async function enter(domain: string): Promise<Terminal> {
    const terminal = openTerminal(await connection.domains.openConsole(domain, { scrollback: true }))
    await terminal.until(prompt)
    const wait = 'for i in $(seq 100); do [ -b /dev/sr0 ] && break; usleep 100000; done'
    const found = await terminal.ask(
      `${wait}; modprobe -a isofs; mkdir -p /mnt; mount -t iso9660 -o ro /dev/sr0 /mnt; ls /mnt`,
    )
    assert.match(found, /meta-data/u)
    return terminal
  }

  test('a guest reads its name, who may log in, and its addresses', async () => {
    await succeed(
      ...['create', 'web', '--image', 'micro', '--ssh-key', 'id.pub', '--user', 'ann'],
      ...[
        '--password-file',
        'password',
        '--address',
        '0=192.0.2.5/24,gateway=192.0.2.1',
        '--run',
        'echo größer',
      ],
    )
    const { uuid, devices, os } = await connection.domains.describe('web')
    const [seed] = devices.disks
    assert.deepEqual([seed?.device, seed?.readonly, seed?.bus, os.boot], ['cdrom', true, 'scsi', []])
    const image = await readFile(seed?.file ?? '')
    for (const secret of ['correct horse'])
      assert.ok(!image.includes(secret) && !visord.log().includes(secret), 'the password is nowhere')
    const terminal = await enter('web')
    await reads(
      terminal,
      'cat /mnt/meta-data',
      new RegExp(`^instance-id: ${uuid}\r\nlocal-hostname: web\r\n`, 'mu'),
    )
    await reads(
      terminal,
      'cat /mnt/user-data',
      /^#cloud-config\r\nusers:\r\n {2}- name: ann\r\n[\s\S]*passwd: "\$6\$[\s\S]*- ssh-ed25519 AAAA.* ann@home\r\n/mu,
    )
    const mac = devices.interfaces[0]?.mac ?? ''
    await reads(
      terminal,
      'cat /mnt/network-config',
      new RegExp(`macaddress: "${mac}"[\\s\\S]*gateway4: "192\\.0\\.2\\.1"`, 'u'),
    )
    await reads(terminal, 'cat /sys/class/net/eth0/address', new RegExp(mac, 'u'))
    // What the guest reads are the bytes that were written.
    await reads(
      terminal,
      'sha256sum /dev/sr0',
      new RegExp(createHash('sha256').update(image).digest('hex'), 'u'),
    )
    await terminal.close()
    await fails(4, /belongs to 'web'/u, 'volume', 'remove', 'web-seed.iso')
    await succeed('undefine', 'web', '--force', '--disks')
    assert.deepEqual(await volumes(), [])
  })

  test('a copy has an identity of its own, by which its guest does the first boot again', async () => {
    await succeed(
      ...['create', 'src', '--no-start', '--image', 'micro', '--ssh-key', key],
      ...['--disk', '8MiB', '--address', '0=192.0.2.5/24'],
    )
    for (const [name, how] of [
      ['whole', []],
      ['thin', ['--linked']],
    ] as const) {
      await succeed('clone', 'src', name, ...how)
      const { uuid, devices } = await connection.domains.describe(name, { inactive: true })
      const seed = devices.disks.find(({ device }) => device === 'cdrom')
      assert.match(seed?.file ?? '', new RegExp(`/${name}-seed\\.iso$`, 'u'))
      const image = await readFile(seed?.file ?? '', 'latin1')
      assert.ok(image.includes(`instance-id: ${uuid}\nlocal-hostname: ${name}\n`), name)
      assert.ok(image.includes(`macaddress: "${devices.interfaces[0]?.mac}"`), name)
      assert.ok(image.includes(key))
    }
    assert.ok(
      (await readFile(join(visord.directories.state, 'volumes/src-seed.iso'), 'latin1')).includes(
        'hostname: src\n',
      ),
    )
    await succeed('undefine', 'thin', '--disks')
    await succeed('undefine', 'whole', 'src', '--disks')
    assert.deepEqual(await volumes(), [])
  })

  test('nothing is made without settings, and nothing is left of what is refused', async () => {
    await succeed('create', 'plain', '--image', 'micro', '--no-start')
    assert.deepEqual((await connection.domains.describe('plain', { inactive: true })).devices.disks, [])
    await fails(
      2,
      /'pakages'[\s\S]*'packages'/u,
      'create',
      'db',
      '--image',
      'micro',
      '--cloud-init',
      'wrong.yaml',
    )
    await fails(
      2,
      /no gateway|ipv6/u,
      'create',
      'db',
      '--image',
      'micro',
      '--address',
      '0=192.0.2.5/24,gateway=fd00::1',
    )
    await fails(4, /already a domain 'plain'/u, 'create', 'plain', '--image', 'micro', '--ssh-key', key)
    await fails(3, /gone\.pub/u, 'create', 'db', '--image', 'micro', '--ssh-key', 'gone.pub')
    assert.deepEqual(await volumes(), [])
    const yaml = (await succeed('create', 'db', '--image', 'micro', '--ssh-key', key, '--dry-run')).stdout
    assert.match(yaml, /file: \/path\/to\/db-seed\.iso/u)
    assert.deepEqual(await volumes(), [])
  })

  test('user-data as it is, beside settings, over REST', async () => {
    const userData = await readFile(join(folder, 'user-data.sh'), 'utf8')
    const firstBoot = { instanceId: 'i-1', userData }
    const alone = await connection.volumes.create('default', { name: 'alone.iso', firstBoot })
    assert.ok((await readFile(alone.path)).includes(userData))
    assert.equal(alone.format, 'iso')
    const both = await connection.volumes.create('default', {
      name: 'both.iso',
      firstBoot: { ...firstBoot, sshKeys: [key] },
    })
    assert.ok((await readFile(both.path)).includes('Content-Type: text/x-shellscript; charset="utf-8"'))
    for (const wrong of [
      { userData: 'x' },
      { sshKeys: ['x'] },
      { passwordHash: 'secret' },
      { nothing: true },
    ])
      await assert.rejects(
        connection.volumes.create('default', { name: 'wrong.iso', firstBoot: { instanceId: 'i', ...wrong } }),
        (error) => error instanceof VisorError && error.code === 'invalid-argument',
        JSON.stringify(wrong),
      )
    assert.deepEqual(await volumes(), ['alone.iso', 'both.iso'])
    for (const name of await volumes()) await connection.volumes.remove('default', name)
  })

  test('a configuration of Ignition is told by the firmware interface', async () => {
    await succeed('create', 'core', '--image', 'micro', '--ignition', 'core.ign')
    const { devices, sysinfo } = await connection.domains.describe('core')
    assert.deepEqual(devices.disks, [])
    const [entry] = sysinfo[0]?.files ?? []
    assert.equal(entry?.name, 'opt/com.coreos/config')
    assert.equal(await readFile(entry?.file ?? '', 'utf8'), '{"ignition":{"version":"3.4.0"}}')
    await fails(4, /belongs to 'core'/u, 'volume', 'remove', 'core-ignition.raw')
    await succeed('undefine', 'core', '--force', '--disks')
    assert.deepEqual(await readdir(join(visord.directories.state, 'volumes')), [])
  })
})
