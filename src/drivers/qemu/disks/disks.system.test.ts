/** Disks of real machines: each bus boots a boot sector, each format and source is read. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import { runChecked } from '../../../host/index.ts'
import type { DomainDefinitionInput } from '../../../model/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { driverPaths } from '../paths.ts'
import { qmpClient } from '../qmp/index.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../testing/test-guest.ts'

type Devices = NonNullable<DomainDefinitionInput['devices']>
type Disk = NonNullable<Devices['disks']>[number]

const skip = (await findProgram('qemu-system-x86_64')) ? false : 'qemu-system-x86_64 is not installed'

describe('disks of QEMU guests', { skip }, () => {
  let directory = ''
  let disk = ''
  let connection: CompleteConnection
  let domains: CompleteConnection['domains']

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-disks-'))
    disk = join(directory, 'disk.raw')
    await writeTestDisk(disk)
    connection = await openTestDriver(directory)
    domains = connection.domains
  })
  after(async () => {
    for (const { uuid, state } of await domains.list()) if (state !== 'shutoff') await domains.destroy(uuid)
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  /** Boots from the disk, and waits for the boot sector's greeting. */
  async function boots(
    name: string,
    disks: Disk[],
    more: Partial<DomainDefinitionInput> = {},
    devices: Devices = {},
  ) {
    const definition = {
      ...testDefinition(name, disk),
      ...more,
      devices: { serials: [{}], ...devices, disks },
    }
    const { uuid } = await domains.define(definition)
    await domains.start(uuid)
    try {
      await hears(uuid, 'ready')
    } finally {
      await domains.destroy(uuid)
      await domains.undefine(uuid)
    }
  }

  const hears = (uuid: string, text: string): Promise<void> =>
    until(async () => Buffer.from(await domains.consoleLog(uuid)).includes(text), `The guest says '${text}'`)

  async function until(holds: () => Promise<boolean>, what = 'The overlay goes'): Promise<void> {
    for (let tries = 0; tries < 600; tries++) {
      if (await holds()) return
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    assert.fail(`Waited in vain: ${what}.`)
  }

  const onPc = { os: { machine: 'pc' } }
  const buses: [
    string,
    Omit<Disk, 'target'> & { target?: string },
    Partial<DomainDefinitionInput>?,
    Devices?,
  ][] = [
    ['virtio', { bus: 'virtio' }],
    ['virtio-non-transitional', { bus: 'virtio', model: 'virtio-non-transitional', queues: 2, packed: true }],
    ['sata', { bus: 'sata', serial: 'S1', rotationRate: 1, wwn: '5000c50015ea71ac' }],
    ['sata on pc', { bus: 'sata' }, onPc],
    ['ide', { bus: 'ide' }, onPc],
    ['scsi', { bus: 'scsi', vendor: 'ACME', product: 'disk one', serial: 'x' }],
    ['lsilogic', { bus: 'scsi' }, {}, { controllers: [{ type: 'scsi', index: 0, model: 'lsilogic' }] }],
    ['megasas', { bus: 'scsi' }, {}, { controllers: [{ type: 'scsi', index: 0, model: 'lsisas1078' }] }],
    ['pvscsi', { bus: 'scsi' }, {}, { controllers: [{ type: 'scsi', index: 0, model: 'vmpvscsi' }] }],
    ['usb', { bus: 'usb', removable: true }],
    ['floppy', { bus: 'fdc', device: 'floppy', target: 'fda' }, onPc],
    ['nvme', { bus: 'nvme' }],
    ['nvme controller', { bus: 'nvme' }, {}, { controllers: [{ type: 'nvme', index: 0, serial: 'N1' }] }],
  ]
  for (const [name, one, more, devices] of buses)
    test(`boots from ${name}`, () =>
      boots(
        `bus-${name.replaceAll(' ', '-')}`,
        [
          {
            file: disk,
            target: one.bus === 'virtio' ? 'vda' : 'sda',
            readonly: one.bus !== 'sata' && one.bus !== 'ide',
            ...one,
          },
        ],
        more,
        devices,
      ))

  const formats: [NonNullable<Disk['format']>, string][] = [
    ['qcow2', 'qcow2'],
    ['qcow', 'qcow'],
    ['qed', 'qed'],
    ['vmdk', 'vmdk'],
    ['vdi', 'vdi'],
    ['vpc', 'vpc'],
    ['vhdx', 'vhdx'],
    ['ploop', 'parallels'],
  ]
  for (const [format, name] of formats)
    test(`boots from an image of format ${format}`, async () => {
      const file = join(directory, `a, b.${format}`)
      await runChecked('qemu-img', ['convert', '-q', '-f', 'raw', '-O', name, disk, file])
      await boots(`format-${format}`, [{ file, format, target: 'vda' }])
    })

  test('boots from an overlay of an overlay, and from what the definition says it is based on', async () => {
    const [top, middle] = [join(directory, 'top.qcow2'), join(directory, 'middle.qcow2')]
    await runChecked('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', disk, '-F', 'raw', middle])
    await runChecked('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', middle, '-F', 'qcow2', top])
    await boots('chain', [{ file: top, format: 'qcow2', target: 'vda' }])
    const moved = join(directory, 'moved.qcow2')
    await runChecked('qemu-img', ['create', '-q', '-f', 'qcow2', moved, '1M'])
    const backingStore = { type: 'file', format: 'raw', file: disk } as const
    await boots('stated', [{ file: moved, format: 'qcow2', target: 'vda', backingStore }])
  })

  test('boots from an encrypted image, whose key is on no command line', async () => {
    const [file, key] = [join(directory, 'secret.qcow2'), join(directory, 'key')]
    await writeFile(key, 'open sesame', { mode: 0o600 })
    const secret = `secret,id=s,file=${key}`
    const options = 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=100'
    // How long the key takes is measured by processor time, of which a busy host may tell none.
    const make = () =>
      runChecked('qemu-img', ['create', '-q', '--object', secret, '-f', 'qcow2', '-o', options, file, '1M'])
    await pardon(make, /accurate CPU usage/u)
    const target = `driver=qcow2,encrypt.key-secret=s,file.filename=${file}`
    await runChecked('qemu-img', [
      'convert',
      '-q',
      '-n',
      '--object',
      secret,
      '--target-image-opts',
      '-f',
      'raw',
      disk,
      target,
    ])
    const encryption: NonNullable<Disk['encryption']> = {
      format: 'luks',
      secrets: [{ type: 'passphrase', file: key }],
    }
    await boots('encrypted', [{ file, format: 'qcow2', target: 'vda', encryption }])
    await assert.rejects(boots('keyless', [{ file, format: 'qcow2', target: 'vda' }]), /is encrypted/u)
  })

  test('boots from an NBD server on a unix socket, and from a web server', async () => {
    const socket = join(directory, 'nbd.sock')
    const server = spawn('qemu-nbd', ['-k', socket, '-x', 'a b', '-f', 'raw', '-r', '-t', disk], {
      stdio: 'ignore',
    })
    try {
      for (let tries = 0; tries < 300 && !existsSync(socket); tries++)
        await new Promise((resolve) => setTimeout(resolve, 50))
      const hosts = [{ transport: 'unix', socket }] as const
      await boots('nbd', [
        { type: 'network', protocol: 'nbd', name: 'a b', hosts: [...hosts], target: 'vda', readonly: true },
      ])
    } finally {
      server.kill()
    }
    const asked: string[] = []
    const web = await serveDisk(disk, asked)
    try {
      const { port } = web.address() as AddressInfo
      await boots('web', [
        {
          type: 'network',
          protocol: 'http',
          name: 'a, b.img',
          hosts: [{ name: '127.0.0.1', port }],
          cookies: [{ name: 'pass', value: 'word' }],
          target: 'sda',
          bus: 'sata',
          device: 'cdrom',
        },
        { file: disk, target: 'vda', readonly: true, bootOrder: 1 },
      ])
      assert.ok(asked.includes('/a%2C%20b.img pass=word'), asked.join('\n'))
    } finally {
      web.close()
    }
  })

  test('what is written to a transient disk is gone, and the image unchanged', async () => {
    const before = await readFile(disk)
    const { uuid } = await domains.define(
      testDefinition('transient', disk, { disks: [{ file: disk, target: 'vda', transient: true }] }),
    )
    await domains.start(uuid)
    await hears(uuid, 'ready')
    const overlays = join(directory, 'state', 'qemu', 'transient', uuid)
    assert.deepEqual(await readdir(overlays), ['vda.qcow2'])
    await assert.rejects(domains.save(uuid), { code: 'invalid-state' })
    await domains.destroy(uuid)
    assert.equal(existsSync(overlays), false)
    // Also when QEMU is killed, with a daemon there and without one.
    await domains.start(uuid)
    process.kill((await domains.get(uuid)).pid ?? 0, 'SIGKILL')
    await until(async () => (await domains.get(uuid)).state === 'shutoff' && !existsSync(overlays))
    await domains.start(uuid)
    const pid = (await domains.get(uuid)).pid ?? 0
    await connection.close()
    process.kill(pid, 'SIGKILL')
    connection = await openTestDriver(directory)
    domains = connection.domains
    await until(async () => (await domains.get(uuid)).state === 'shutoff' && !existsSync(overlays))
    assert.deepEqual(await readFile(disk), before)
    await domains.undefine(uuid)
  })

  test('a second writer is refused by the name of the first; readers and sharers are not', async () => {
    const define = (name: string, more: Partial<Disk>) =>
      domains.define(testDefinition(name, disk, { disks: [{ file: disk, target: 'vda', ...more }] }))
    const first = await define('first', {})
    await domains.start(first.uuid)
    const second = await define('second', { readonly: true })
    await assert.rejects(domains.start(second.uuid), {
      code: 'busy',
      message: /'second' is written by domain 'first'/u,
    })
    await domains.destroy(first.uuid)
    await define('first', { shareable: true })
    await define('second', { shareable: true })
    await domains.start(first.uuid)
    await domains.start(second.uuid)
    for (const { uuid } of [first, second]) {
      await domains.destroy(uuid)
      await domains.undefine(uuid)
    }
  })

  test('limits, a missing medium and an empty drive are as the definition says', async () => {
    const disks: Disk[] = [
      {
        file: disk,
        target: 'vda',
        readonly: true,
        throttle: { totalBytesSec: 1_000_000, readIopsSec: 100, totalBytesSecMax: 2_000_000, groupName: 'g' },
      },
      { ...(await empty('shared')), target: 'vdb', throttle: { writeIopsSec: 50, groupName: 'both' } },
      { ...(await empty('sharer')), target: 'vdc', throttle: { writeIopsSec: 50, groupName: 'both' } },
      { ...(await empty('free')), target: 'vdd' },
      { file: join(directory, 'none.iso'), target: 'sda', device: 'cdrom', startupPolicy: 'optional' },
      { target: 'fda', device: 'floppy' },
    ]
    const { uuid } = await domains.define(testDefinition('limits', disk, { disks }))
    await domains.start(uuid)
    await hears(uuid, 'ready')
    const limits = await limitsOf(uuid)
    const none = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 }
    assert.deepEqual(limits, [
      { ...none, bps: 1_000_000, bps_max: 2_000_000, iops_rd: 100, group: 'g' },
      { ...none, iops_wr: 50, group: 'both' },
      { ...none, iops_wr: 50, group: 'both' },
      none,
    ])
    await changeLimits(uuid, await domains.describe(uuid))
    await domains.destroy(uuid)
    await domains.undefine(uuid)
  })

  /** What is set while it runs is in QEMU, and in the definition that is meant; what is taken away in neither. */
  async function changeLimits(uuid: string, { devices }: { devices: { disks: readonly Disk[] } }) {
    const set = (target: string, throttle: Disk['throttle'], config = false) => {
      const one = devices.disks.find((disk) => disk.target === target) as Disk
      const device = { disks: [{ ...one, throttle }] }
      return domains.updateDevice(uuid, { device, live: true, config })
    }
    const throttles = async (inactive: boolean) =>
      (await domains.describe(uuid, { inactive })).devices.disks.map(({ throttle }) => throttle)
    const none = { bps: 0, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 }
    await set('vda', { totalBytesSec: 0, groupName: 'g' })
    await set('vdb', { readBytesSec: 70_000, groupName: 'both' }, true)
    await set('vdd', { totalIopsSec: 30, totalIopsSecMax: 60 })
    const [, , , free] = await limitsOf(uuid)
    assert.equal((free as { group?: string }).group?.includes('/'), true, 'it is in a group of its own')
    const shared = { ...none, bps_rd: 70_000, group: 'both' }
    assert.deepEqual((await limitsOf(uuid)).slice(0, 3), [none, shared, shared])
    assert.deepEqual(free, { ...none, iops: 30, group: (free as { group?: string }).group })
    const both = { readBytesSec: 70_000, groupName: 'both' }
    assert.deepEqual((await throttles(false)).slice(0, 4), [
      undefined,
      both,
      both,
      { totalIopsSec: 30, totalIopsSecMax: 60 },
    ])
    assert.deepEqual((await throttles(true)).slice(1, 4), [both, both, undefined])
    // Out of the group with what it had, and then without.
    await set('vdc', { readBytesSec: 70_000 })
    await set('vdb', { readBytesSec: 90_000, groupName: 'both' })
    const [, second, third] = (await limitsOf(uuid)) as { bps_rd: number; group: string }[]
    assert.deepEqual([second?.bps_rd, third?.bps_rd, third?.group === 'both'], [90_000, 70_000, false])
    await set('vdc', {})
    assert.deepEqual((await limitsOf(uuid))[2], none)
    await assert.rejects(set('vdc', { totalBytesSec: 5_000, totalBytesSecMax: 1_000 }, true))
    assert.deepEqual((await throttles(true))[2], both)
    assert.deepEqual((await limitsOf(uuid))[2], none)
  }

  async function empty(name: string) {
    const file = join(directory, `${name}.raw`)
    await writeFile(file, Buffer.alloc(2 ** 20))
    return { file }
  }

  /** The limits of the disks on virtio, as QEMU has them; the monitor has one client at a time. */
  async function limitsOf(uuid: string): Promise<object[]> {
    await connection.close()
    const socket = connect(driverPaths(join(directory, 'state'), join(directory, 'run')).of(uuid).monitor)
    const monitor = qmpClient(socket, { name: 'limits' })
    try {
      await monitor.greeting
      const blocks = await monitor.execute('query-block')
      const disks = (blocks as { qdev?: string; inserted?: Record<string, unknown> }[]).filter(
        ({ qdev, inserted }) => inserted && qdev?.includes('virtio'),
      )
      const wanted = ['bps', 'bps_rd', 'bps_wr', 'iops', 'iops_rd', 'iops_wr', 'bps_max', 'group']
      return disks.map(({ inserted = {} }) =>
        Object.fromEntries(wanted.flatMap((name) => (name in inserted ? [[name, inserted[name]]] : []))),
      )
    } finally {
      monitor.close()
      connection = await openTestDriver(directory)
      domains = connection.domains
    }
  }

  test('a share of a folder starts, for reading and for writing', async () => {
    const filesystems = [
      { source: directory, target: 'all', readonly: true },
      { source: directory, target: 'mapped', accessMode: 'mapped', fileMode: '0640' },
    ] as const
    await boots(
      'shares',
      [{ file: disk, target: 'vda', readonly: true }],
      {},
      { filesystems: [...filesystems] },
    )
  })
})

/** A web server with one file, as QEMU's reads it: in ranges. */
async function serveDisk(file: string, asked: string[]): Promise<Server> {
  const content = await readFile(file)
  const server = createServer((request, response) => {
    asked.push(`${request.url} ${request.headers.cookie}`)
    const [, from, to] = /^bytes=(\d+)-(\d+)$/u.exec(request.headers.range ?? '') ?? []
    const part = from === undefined ? content : content.subarray(Number(from), Number(to) + 1)
    const headers = { 'accept-ranges': 'bytes', 'content-length': part.length }
    response.writeHead(from === undefined ? 200 : 206, headers)
    response.end(request.method === 'HEAD' ? undefined : part)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}

/** Does it again when it failed for this reason. */
async function pardon(work: () => Promise<unknown>, reason: RegExp): Promise<void> {
  for (let tries = 0; ; tries++)
    try {
      await work()
      return
    } catch (error) {
      if (tries === 50 || !reason.test(String(error))) throw error
    }
}
