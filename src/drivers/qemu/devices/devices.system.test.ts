/** Each kind of device in a real QEMU, many in one guest: seen in its tree of objects. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, truncate } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { DevicesInput, DomainDefinitionInput } from '../../../model/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { isRecord, qmpClient } from '../qmp/index.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../testing/test-guest.ts'
import { serveCards } from '../testing/test-switch.ts'
import { openTerminal } from '../testing/test-terminal.ts'

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

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!(await isSo())) {
    assert.ok(performance.now() < deadline, String(isSo))
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Connects when somebody listens there. */
async function connectTo(path: string): Promise<Socket> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const socket = createConnection(path)
    const failed = await new Promise((resolve) => socket.once('connect', resolve).once('error', resolve))
    if (failed === undefined) return socket
    assert.ok(performance.now() < deadline, `nobody listens at '${path}'`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

test('cards whose packets another program moves, and cards on sockets', options, async () => {
  const [caller, listener] = [join(directory, 'caller.sock'), join(directory, 'listener.sock')]
  const asked: string[] = []
  const sockets: Socket[] = []
  const serve = (socket: Socket) => {
    sockets.push(socket)
    serveCards(socket, asked)
  }
  const server = createServer(serve).listen(caller)
  await once(server, 'listening')
  const ports = await Promise.all([freePort(), freePort(), freePort()])
  const [listens = 0, local = 0, remote = 0] = ports
  // QEMU waits for it before it does anything else.
  const connecting = connectTo(listener).then(serve)
  connecting.catch(() => {})
  const unix = { type: 'vhostuser', sourceType: 'unix' } as const
  const owned = (count: number) =>
    until(async () => asked.filter((one) => one === 'SET_OWNER').length === count)
  const card = { ...unix, path: caller, mode: 'client' } as const
  try {
    await withGuest(
      'switched',
      {
        interfaces: [
          { ...card, queues: 2 },
          { ...unix, path: listener, mode: 'server' },
          { type: 'server', sourceAddress: '127.0.0.1', sourcePort: listens, model: 'e1000e' },
          { type: 'client', sourceAddress: '127.0.0.1', sourcePort: listens },
          {
            ...({ type: 'udp', sourceAddress: '127.0.0.1', sourcePort: remote } as const),
            ...{ localAddress: '127.0.0.1', localPort: local },
          },
        ],
      },
      async (ask, uuid) => {
        await connecting
        await owned(2)
        assert.ok(asked.includes('GET_QUEUE_NUM'))
        const [memory] = (await ask('query-memdev')) as [unknown]
        assert.ok(isRecord(memory) && memory.share === true)
        const network = async () =>
          String(await ask('human-monitor-command', { 'command-line': 'info network' }))
        await until(async () => /hostnet2: .*socket: connection from/u.test(await network()))
        assert.match(await network(), /hostnet1: .*type=vhost-user/u)
        const { attachDevice } = connection.domains
        const mac = '52:54:00:00:00:09'
        const plugged = { interfaces: [{ ...card, mac }] }
        await attachDevice(uuid, { device: plugged })
        await owned(3)
        const waiting = { interfaces: [{ ...card, mode: 'server' as const }] }
        await assert.rejects(attachDevice(uuid, { device: waiting }), { code: 'unsupported-config' })
      },
    )
    const missing = { interfaces: [{ ...card, path: join(directory, 'nobody.sock') }] }
    await assert.rejects(
      withGuest('alone', missing, async () => {}),
      { code: 'not-found', message: /nobody/u },
    )
  } finally {
    for (const one of sockets) one.destroy()
    server.close()
  }
})

const rom = '/usr/lib/ipxe/qemu/pxe-virtio.rom'
const noRom = existsSync(rom) ? false : `there is no '${rom}': install ipxe-qemu`
test('a guest without a disk boots over the network in user space', {
  ...options,
  skip: skip || noRom,
}, async () => {
  const folder = join(directory, 'offered, to all')
  await mkdir(folder)
  // No disk but its first sector: what PXE loads is small, and begins at the same address.
  await writeTestDisk(join(folder, 'boot.0'))
  await truncate(join(folder, 'boot.0'), 512)
  const ip = { address: '10.77.1.0', prefix: 24, gateway: '10.77.1.9', dns: '10.77.1.8' }
  const disks: DevicesInput['disks'] = []
  const interfaces = [{ type: 'user' as const, ips: [{ ...ip, tftpRoot: folder, bootFile: 'boot.0' }] }]
  const boots = { disks, interfaces, serials: [{}] }
  await withGuest('diskless', boots, async (ask, uuid) => {
    const network = String(await ask('human-monitor-command', { 'command-line': 'info network' }))
    assert.match(network, /net=10\.77\.1\.0/u)
    const terminal = openTerminal(await connection.domains.openConsole(uuid, { scrollback: true }))
    await terminal.until('ready')
    await terminal.close()
  })
  const nowhere = { interfaces: [{ type: 'user' as const, ips: [{ ...ip, tftpRoot: join(folder, 'no') }] }] }
  await assert.rejects(
    withGuest('lost', nowhere, async () => {}),
    { code: 'not-found', message: /TFTP/u },
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
      redirFilter: { rules: [{ class: '0x08', version: '1.1', allow: true }, { allow: false }] },
      smartcards: [
        { card: 'passthrough', type: 'spicevmc' },
        { card: 'passthrough', type: 'unix', path: join(directory, 'card.sock') },
      ],
      sounds: [{ model: 'ich6' }],
      videos: [{ model: 'qxl', heads: 1, ramKiB: 65_536, vramKiB: 65_536, vgaMemoryKiB: 16_384 }],
    },
    async (ask, uuid) => {
      const vnc = await ask('query-vnc')
      assert.ok(isRecord(vnc) && vnc.enabled === true && vnc.host === '127.0.0.1')
      assert.ok(Number(vnc.service) >= 5900)
      const spice = await ask('query-spice')
      assert.ok(isRecord(spice) && spice.enabled === true)
      const filter = { path: '/machine/peripheral/redir1', property: 'filter' }
      assert.equal(await ask('qom-get', filter), '0x08:-1:-1:0x0110:1|-1:-1:-1:-1:0')
      const names = namesOf(await ask('qom-list', { path: '/machine/peripheral' }))
      for (const name of ['ccid0', 'ccid1', 'smartcard0', 'smartcard1']) assert.ok(names.includes(name), name)
      const definition = await connection.domains.describe(uuid)
      assert.deepEqual(definition.devices.smartcards[1]?.address?.controller, '1')
      assert.equal(definition.devices.graphics[0]?.port, Number(vnc.service))
      assert.match(definition.devices?.graphics?.[1]?.socket ?? '', /spice\.sock$/u)
    },
  ),
)

const noSwtpm = (await findProgram('swtpm')) ? false : 'swtpm is not here: install swtpm'
test('a module that another program serves is reached at its socket', {
  ...options,
  skip: skip || noSwtpm,
}, async () => {
  const [state, socket] = [join(directory, 'module'), join(directory, 'module.sock')]
  await mkdir(state)
  const serve = ['socket', '--tpm2', '--tpmstate', `dir=${state}`, '--ctrl', `type=unixio,path=${socket}`]
  const program = spawn('swtpm', serve, { stdio: 'ignore' })
  try {
    await until(async () => existsSync(socket))
    const tpms = [{ backend: 'external' as const, sourceType: 'unix' as const, socket }]
    await withGuest('external', { tpms }, async (ask, uuid) => {
      const [found] = (await ask('query-tpm')) as [unknown]
      assert.ok(isRecord(found) && found.id === 'tpm-tpm0' && found.model === 'tpm-crb')
      const { devices } = await connection.domains.describe(uuid)
      assert.equal(devices.tpms[0]?.socket, socket)
    })
    const missing = { tpms: [{ backend: 'external' as const, socket: join(directory, 'nobody.sock') }] }
    await assert.rejects(
      withGuest('nobody', missing, async () => {}),
      { code: 'not-found' },
    )
    const host = { tpms: [{ backend: 'passthrough' as const, device: '/dev/visor-no-tpm' }] }
    await assert.rejects(
      withGuest('hosted', host, async () => {}),
      { code: 'not-found' },
    )
  } finally {
    program.kill()
  }
})
