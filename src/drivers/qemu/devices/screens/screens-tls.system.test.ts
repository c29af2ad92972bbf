/** Screens with TLS in a real QEMU: VNC as VeNCrypt has it, SPICE on a port of its own. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connect as connectTls, type SecureContextOptions } from 'node:tls'
import type { DomainDefinitionInput } from '../../../../model/index.ts'
import { findProgram } from '../../emulator/emulator.ts'
import { hasOpenssl, makeCertificates } from '../../testing/test-certificates.ts'
import { openTestDriver } from '../../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../../testing/test-guest.ts'

const skip = !(await findProgram('qemu-system-x86_64'))
  ? 'QEMU is not here: install qemu-system-x86'
  : hasOpenssl
    ? false
    : 'openssl is not here, which makes the certificates'
const options = { skip, timeout: 300_000 }
let directory: string
let pki: string
let connection: Awaited<ReturnType<typeof openTestDriver>>
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'visor-screens-tls-'))
  pki = join(directory, 'pki')
  await writeTestDisk(join(directory, 'disk.raw'))
  if (!skip) await makeCertificates(pki)
  connection = await openTestDriver(directory)
})
after(async () => {
  await connection.close()
  await rm(directory, { recursive: true, force: true })
})

type Screens = NonNullable<DomainDefinitionInput['devices']>['graphics']

async function withScreens(
  name: string,
  graphics: Screens,
  look: (uuid: string) => Promise<void>,
): Promise<void> {
  const { domains } = connection
  const { uuid } = await domains.define(testDefinition(name, join(directory, 'disk.raw'), { graphics }))
  try {
    await domains.start(uuid)
    await look(uuid)
  } finally {
    await domains.destroy(uuid).catch(() => {})
    await domains.undefine(uuid)
  }
}

/** So many bytes of a line. Fails when it ends before. */
async function take(line: Socket, count: number): Promise<Buffer> {
  for (;;) {
    const got: Buffer | null = line.read(count)
    if (got) return got
    if (line.readableEnded || line.destroyed) throw new Error('The server hung up.')
    await new Promise<void>((resolve) => {
      const events = ['readable', 'end', 'close', 'error'] as const
      const go = () => {
        for (const event of events) line.off(event, go)
        resolve()
      }
      for (const event of events) line.on(event, go)
    })
  }
}

const credentials = async (end?: 'client'): Promise<SecureContextOptions> => ({
  ca: await readFile(join(pki, 'ca-cert.pem')),
  ...(end && {
    cert: await readFile(join(pki, 'client-cert.pem')),
    key: await readFile(join(pki, 'client-key.pem')),
  }),
})

/** A line with TLS, over one that is there or a new one. Fails when the server does not let us in. */
async function secure(more: SecureContextOptions & { socket?: Socket; port?: number }): Promise<Socket> {
  const line = connectTls({ host: '127.0.0.1', servername: 'localhost', ...more })
  await new Promise<void>((resolve, reject) => {
    line.once('secureConnect', resolve).once('error', reject)
    line.once('close', () => reject(new Error('The server hung up.')))
  })
  line.on('error', () => {})
  return line
}

/** Logs in as VeNCrypt 0.2 has it, subtype X509None: the result that the server tells, where it does. */
async function logIn(port: number, certificates: SecureContextOptions): Promise<number> {
  const plain = createConnection(port, '127.0.0.1').on('error', () => {})
  try {
    assert.equal(String(await take(plain, 12)), 'RFB 003.008\n')
    plain.write('RFB 003.008\n')
    const [count = 0] = await take(plain, 1)
    assert.deepEqual([...(await take(plain, count))], [19])
    plain.write(Buffer.from([19]))
    assert.deepEqual([...(await take(plain, 2))], [0, 2])
    plain.write(Buffer.from([0, 2]))
    assert.deepEqual([...(await take(plain, 2))], [0, 1])
    const subtype = await take(plain, 4)
    assert.equal(subtype.readUInt32BE(), 260)
    plain.write(subtype)
    assert.deepEqual([...(await take(plain, 1))], [1])
    const line = await secure({ ...certificates, socket: plain })
    return (await take(line, 4)).readUInt32BE()
  } finally {
    plain.destroy()
  }
}

/** Asks for the main channel of SPICE: the error that the server answers, 0 for none. */
async function link(line: Socket): Promise<number> {
  const message = Buffer.alloc(16 + 18)
  message.write('REDQ')
  for (const [at, value] of [
    [4, 2],
    [8, 2],
    [12, 18],
    [30, 18],
  ] as const)
    message.writeUInt32LE(value, at)
  // The main channel is the first kind.
  message[20] = 1
  line.write(message)
  const head = await take(line, 20)
  assert.equal(String(head.subarray(0, 4)), 'REDQ')
  line.destroy()
  return head.readUInt32LE(16)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address ? address.port : 0
}

test('VNC shows its certificate, and wants one where the definition says so', options, async () => {
  const screen = { type: 'vnc', port: -1, autoport: true, tlsDirectory: pki } as const
  const portOf = async (uuid: string) =>
    (await connection.domains.describe(uuid)).devices.graphics[0]?.port ?? 0
  await withScreens('open', [screen], async (uuid) => {
    assert.equal(await logIn(await portOf(uuid), await credentials()), 0)
    // Somebody else's authority is not that of the server.
    await assert.rejects(logIn(await portOf(uuid), {}), /certificate/u)
  })
  await withScreens('verified', [{ ...screen, listen: '0.0.0.0', tlsVerify: true }], async (uuid) => {
    assert.equal(await logIn(await portOf(uuid), await credentials('client')), 0)
    await assert.rejects(logIn(await portOf(uuid), await credentials()))
  })
})

test('SPICE with TLS: a channel that needs it is refused without', options, async () => {
  const [port, tlsPort] = [await freePort(), await freePort()]
  const screen: NonNullable<Screens>[number] = {
    type: 'spice',
    port,
    tlsPort,
    tlsDirectory: pki,
    channels: [{ name: 'main', mode: 'secure' }],
  }
  await withScreens('spice', [screen], async () => {
    assert.equal(await link(await secure({ ...(await credentials()), port: tlsPort })), 0)
    const needsSecured = 5
    assert.equal(await link(createConnection(port, '127.0.0.1')), needsSecured)
  })
})

test('screens that this host or QEMU cannot have are refused before anything starts', options, async () => {
  const cases: [NonNullable<Screens>[number], RegExp][] = [
    [{ type: 'vnc', tlsVerify: true }, /tlsVerify: is for TLS/u],
    [{ type: 'spice', defaultMode: 'secure' }, /need TLS/u],
    [{ type: 'spice', tlsDirectory: pki }, /no port with TLS/u],
    [{ type: 'egl-headless', listen: '127.0.0.1' }, /listen: means nothing/u],
    [{ type: 'dbus' }, /needs one of 'address'/u],
    [{ type: 'vnc', p2p: true }, /is for type 'dbus'/u],
  ]
  for (const [screen, message] of cases)
    await assert.rejects(connection.domains.define(testDefinition('bad', '/d', { graphics: [screen] })), {
      code: 'unsupported-config',
      message,
    })
  const missing = { type: 'vnc', tlsDirectory: join(directory, 'none') } as const
  await assert.rejects(
    withScreens('missing', [missing], async () => {}),
    { code: 'unsupported-config', message: /ca-cert\.pem' is not there/u },
  )
})
