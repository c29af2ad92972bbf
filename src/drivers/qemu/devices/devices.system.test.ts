/** Each kind of device in a real QEMU, many in one guest: seen in its tree of objects. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { DomainDefinitionInput } from '../../../model/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { isRecord, qmpClient } from '../qmp/index.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../testing/test-guest.ts'

const skip = (await findProgram('qemu-system-x86_64')) ? false : 'QEMU is not here: install qemu-system-x86'
let directory: string
let connection: Awaited<ReturnType<typeof openTestDriver>>
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'visor-devices-'))
  await writeTestDisk(join(directory, 'disk.raw'))
  connection = await openTestDriver(directory)
})
after(async () => {
  await connection.close()
  await rm(directory, { recursive: true, force: true })
})

/** Starts a machine with these devices, and asks its QEMU. */
async function withGuest(
  name: string,
  devices: DomainDefinitionInput['devices'],
  look: (
    ask: (command: string, args?: Record<string, unknown>) => Promise<unknown>,
    uuid: string,
  ) => Promise<void>,
): Promise<void> {
  const { domains } = connection
  const { uuid } = await domains.define(testDefinition(name, join(directory, 'disk.raw'), devices))
  try {
    await domains.start(uuid)
    const socket = createConnection(join(directory, 'run', 'qemu', uuid, 'io', 'monitor.sock'))
    const monitor = qmpClient(socket, { name })
    try {
      await look((command, args) => monitor.execute(command, args), uuid)
    } finally {
      monitor.close()
    }
  } finally {
    await domains.destroy(uuid).catch(() => {})
    await domains.undefine(uuid)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address ? address.port : 0
}

const namesOf = (list: unknown): string[] =>
  Array.isArray(list) ? list.filter(isRecord).map(({ name }) => String(name)) : []

const options = { skip, timeout: 300_000 }

test(
  'sound, watchdog, panic, cipher, shared memory, hub and unit of addresses are there',
  options,
  async () => {
    const folder = join(directory, 'paths, with spaces')
    await mkdir(folder)
    const calls: Socket[] = []
    const daemon = createServer((socket) => void calls.push(socket)).listen(join(folder, 'egd.sock'))
    await once(daemon, 'listening')
    await withGuest(
      'many',
      {
        sounds: [
          { model: 'ich9' },
          { model: 'ac97' },
          { model: 'usb' },
          { model: 'sb16' },
          { model: 'es1370' },
        ],
        watchdogs: [{ model: 'i6300esb', action: 'poweroff' }, { model: 'itco' }],
        panics: [{ model: 'isa' }, { model: 'pvpanic' }],
        cryptos: [{}],
        hubs: [{}],
        rngs: [
          { backend: 'egd', daemonType: 'unix', daemonPath: join(folder, 'egd.sock') },
          { backend: 'builtin' },
        ],
        iommu: { model: 'intel' },
        sharedMemories: [{ name: `visor-test-${process.pid}`, sizeKiB: 1024 }],
        inputs: [{ type: 'tablet' }, { type: 'keyboard', bus: 'virtio' }],
        videos: [{ model: 'qxl' }, { model: 'virtio', heads: 2 }],
      },
      async (ask) => {
        const names = namesOf(await ask('qom-list', { path: '/machine/peripheral' }))
        for (const name of ['sound0', 'sound0-codec0', 'sound1', 'sound2', 'sound3', 'sound4', 'watchdog0'])
          assert.ok(names.includes(name), name)
        for (const name of ['panic0', 'panic1', 'crypto0', 'hub0', 'iommu0', 'shmem0', 'input1', 'video1'])
          assert.ok(names.includes(name), name)
        assert.deepEqual([names.includes('rng0'), names.includes('rng1'), calls.length], [true, true, 1])
      },
    ).finally(async () => {
      for (const one of calls) one.destroy()
      daemon.close()
      await rm(`/dev/shm/visor-test-${process.pid}`, { force: true })
    })
  },
)

test('network cards of every model, and a port of the host that leads to the guest', options, async () => {
  const port = await freePort()
  const models = [
    'virtio',
    'virtio-non-transitional',
    'e1000',
    'e1000e',
    'rtl8139',
    'vmxnet3',
    'pcnet',
  ] as const
  await withGuest(
    'cards',
    {
      interfaces: [
        {
          type: 'user',
          eventIndex: false,
          mtu: 1400,
          receiveQueueSize: 512,
          ips: [{ address: '10.77.0.0', prefix: 24 }],
          portForwards: [{ proto: 'tcp', address: '127.0.0.1', ranges: [{ start: port, to: 80 }] }],
        },
        ...models.map((model) => ({ type: 'null' as const, model })),
        { type: 'user', model: 'usb-net' },
        { type: 'mcast', sourceAddress: '230.0.0.1', sourcePort: 5558 },
      ],
    },
    async (ask) => {
      const names = namesOf(await ask('qom-list', { path: '/machine/peripheral' }))
      for (let index = 0; index < models.length + 3; index++) assert.ok(names.includes(`net${index}`))
      const get = (property: string) => ask('qom-get', { path: '/machine/peripheral/net0', property })
      assert.deepEqual(
        [await get('host_mtu'), await get('rx_queue_size'), await get('event_idx')],
        [1400, 512, false],
      )
      const network = await ask('human-monitor-command', { 'command-line': 'info usernet' })
      assert.match(
        String(network),
        new RegExp(`HOST_FORWARD.*127\\.0\\.0\\.1\\s+${port}\\s+10\\.77\\.0\\.15\\s+80`, 'u'),
      )
      const socket = createConnection(port, '127.0.0.1')
      await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
      socket.destroy()
    },
  )
})

test('VNC finds a free port; SPICE listens on a socket, with its channel and USB ports', options, () =>
  withGuest(
    'screens',
    {
      graphics: [
        { type: 'vnc', port: -1, autoport: true, sharePolicy: 'force-shared' },
        {
          type: 'spice',
          port: -1,
          autoport: true,
          imageCompression: 'off',
          mouse: 'client',
          clipboard: false,
        },
      ],
      channels: [{ type: 'spicevmc', name: 'com.redhat.spice.0' }],
      redirdevs: [{}, {}],
      sounds: [{ model: 'ich6' }],
      videos: [{ model: 'qxl', heads: 1, ramKiB: 65_536, vramKiB: 65_536, vgaMemoryKiB: 16_384 }],
    },
    async (ask, uuid) => {
      const vnc = await ask('query-vnc')
      assert.ok(isRecord(vnc) && vnc.enabled === true && vnc.host === '127.0.0.1')
      assert.ok(Number(vnc.service) >= 5900)
      const spice = await ask('query-spice')
      assert.ok(isRecord(spice) && spice.enabled === true)
      const definition = await connection.domains.describe(uuid)
      assert.equal(definition.devices.graphics[0]?.port, Number(vnc.service))
      assert.match(definition.devices?.graphics?.[1]?.socket ?? '', /spice\.sock$/u)
    },
  ),
)
