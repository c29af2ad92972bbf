/** Ports with every kind of host side that this host can have, in a real QEMU whose guest answers on the first. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import type { DomainDefinitionInput } from '../../../../model/index.ts'
import { findProgram } from '../../emulator/emulator.ts'
import { hasOpenssl, makeCertificates } from '../../testing/test-certificates.ts'
import { openTestDriver } from '../../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../../testing/test-guest.ts'

const skip = (await findProgram('qemu-system-x86_64')) ? false : 'QEMU is not here: install qemu-system-x86'
const options = { skip, timeout: 300_000 }
let directory: string
let connection: Awaited<ReturnType<typeof openTestDriver>>
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'visor-ports-'))
  await writeTestDisk(join(directory, 'disk.raw'))
  connection = await openTestDriver(directory)
})
after(async () => {
  await connection.close()
  await rm(directory, { recursive: true, force: true })
})

/** Runs a guest with these devices; it is stopped until `work` starts it, when `paused`. */
async function withGuest(
  name: string,
  devices: DomainDefinitionInput['devices'],
  work: (uuid: string) => Promise<void>,
  paused = false,
): Promise<void> {
  const { domains } = connection
  const { uuid } = await domains.define(testDefinition(name, join(directory, 'disk.raw'), devices))
  try {
    await domains.start(uuid, { paused })
    await work(uuid)
  } finally {
    await domains.destroy(uuid).catch(() => {})
    await domains.undefine(uuid)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const port = portOf(server)
  await new Promise((resolve) => server.close(resolve))
  return port
}
const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}

/** What comes over a line, as far as the text that is waited for. */
async function readUntil(line: Socket, wanted: string): Promise<string> {
  let got = ''
  for await (const chunk of line.iterator({ destroyOnReturn: false })) {
    got += String(chunk)
    if (got.includes(wanted)) return got
  }
  throw new Error(`The line ended after ${JSON.stringify(got)}.`)
}

/** Types until the guest, which may still boot, answers. */
async function talk(line: Socket): Promise<void> {
  const typing = setInterval(() => line.write('a'), 500)
  try {
    line.write('a')
    await readUntil(line, ':0001a')
  } finally {
    clearInterval(typing)
  }
}

test(
  'the guest answers over tcp; other ports are made, called, logged; who asks for a console is told',
  options,
  async () => {
    const { domains } = connection
    const [port, log] = [await freePort(), join(directory, 'first.log')]
    const called = createServer().listen(join(directory, 'called.sock'))
    await once(called, 'listening')
    const pipe = join(directory, 'pipe')
    execFileSync('mkfifo', [`${pipe}.in`, `${pipe}.out`])
    const [calling, channelSocket] = [once(called, 'connection'), join(directory, 'agent,1.sock')]
    await writeFile(join(directory, 'out.txt'), 'before')
    const udp = createSocket('udp4')
    udp.bind(0, '127.0.0.1')
    await once(udp, 'listening')
    try {
      await withGuest(
        'kinds',
        {
          serials: [
            { type: 'tcp', mode: 'bind', host: '127.0.0.1', service: String(port), logFile: log },
            { type: 'file', path: join(directory, 'out.txt') },
            { type: 'pipe', path: pipe },
            { type: 'null', target: 'pci-serial' },
          ],
          parallels: [
            {
              type: 'udp',
              mode: 'bind',
              host: '127.0.0.1',
              service: String(await freePort()),
              peer: { host: '127.0.0.1', service: String(udp.address().port) },
            },
          ],
          consoles: [{ target: 'virtio' }],
          channels: [
            { name: 'org.visor.made', path: channelSocket },
            { name: 'org.visor.calls', mode: 'connect', path: join(directory, 'called.sock') },
            { name: 'com.redhat.spice.0', type: 'qemu-vdagent', clipboard: true },
          ],
        },
        async (uuid) => {
          const line = createConnection(port, '127.0.0.1')
          await once(line, 'connect')
          await talk(line)
          line.destroy()
          // QEMU writes its log after it has sent.
          while (!(await readFile(log, 'latin1')).includes(':0001a')) await setTimeout(20)
          assert.equal(await readFile(join(directory, 'out.txt'), 'latin1'), 'before')
          assert.ok((await stat(channelSocket)).isSocket())
          const [caller] = (await calling) as [Socket]
          caller.destroy()
          await assert.rejects(domains.openConsole(uuid), {
            code: 'unsupported-config',
            message: /'serial0' is no console.*'tcp'/u,
          })
          assert.match(String(await domains.consoleLog(uuid)), /:0001a/u)
          const console = await domains.openConsole(uuid, { device: 'console1' })
          await console.close()
        },
      )
      // A socket that somebody else made stays.
      assert.ok((await stat(join(directory, 'called.sock'))).isSocket())
      await assert.rejects(stat(channelSocket), { code: 'ENOENT' })
    } finally {
      udp.close()
      called.close()
    }
  },
)

test('a port that calls does so again when who answers comes later', options, async () => {
  const port = await freePort()
  const serials = [{ type: 'tcp', mode: 'connect', host: '127.0.0.1', service: String(port) } as const]
  await assert.rejects(
    withGuest('calls-once', { serials }, async () => {}),
    /could not be started: .*refused/u,
  )
  const again = serials.map((one) => ({ ...one, reconnect: true, reconnectSeconds: 1 }))
  await withGuest('calls', { serials: again }, async () => {
    const server = createServer().listen(port, '127.0.0.1')
    try {
      const [line] = (await once(server, 'connection')) as [Socket]
      await talk(line)
      line.destroy()
    } finally {
      server.close()
    }
  })
})

test('a port with TLS wants a certificate of its authority', options, async (t) => {
  if (!hasOpenssl) return t.skip('openssl is not here, which makes the certificates')
  const [port, pki] = [await freePort(), join(directory, 'pki')]
  const serials = [
    { type: 'tcp', mode: 'bind', host: '127.0.0.1', service: String(port), tls: true, tlsDirectory: pki },
  ] as const
  const devices = { serials: [...serials] }
  await assert.rejects(
    withGuest('tls', devices, async () => {}),
    { code: 'not-found', message: /ca-cert/u },
  )
  await makeCertificates(pki)
  await withGuest('tls', devices, async () => {
    const read = (name: string) => readFile(join(pki, name))
    const [ca, cert, key] = [
      await read('ca-cert.pem'),
      await read('client-cert.pem'),
      await read('client-key.pem'),
    ]
    const stranger = connectTls({ host: '127.0.0.1', port, ca })
    stranger.on('error', () => {})
    await once(stranger, 'close')
    const line = connectTls({ host: '127.0.0.1', port, ca, cert, key })
    await once(line, 'secureConnect')
    await talk(line)
    line.destroy()
  })
})

test('what a host side cannot have, or is not there, is told before anything starts', options, async () => {
  const cases: [DomainDefinitionInput['devices'], RegExp][] = [
    [{ serials: [{ type: 'stdio' }] }, /type: can only be/u],
    [{ serials: [{ type: 'nmdm' }] }, /type: can only be/u],
    [{ serials: [{ type: 'pty', host: 'x' }] }, /host: means nothing for type 'pty'/u],
    [{ serials: [{ type: 'spiceport', channel: 'x' }] }, /need a screen of type 'spice'/u],
    [{ serials: [{ target: 'system-serial' }] }, /not on PCs/u],
    [{ serials: [{ target: 'sclp-serial' }] }, /target: can only be/u],
    [{ consoles: [{ target: 'sclp' }] }, /target: can only be/u],
    [{ serials: [{ type: 'tcp', mode: 'bind', service: '1', protocol: 'telnets' }] }, /telnets/u],
  ]
  for (const [devices, message] of cases)
    await assert.rejects(connection.domains.define(testDefinition('bad', '/d', devices)), {
      code: 'unsupported-config',
      message,
    })
  const missing: [DomainDefinitionInput['devices'], RegExp][] = [
    [{ serials: [{ type: 'pipe', path: join(directory, 'none') }] }, /no pipe/u],
    [{ serials: [{ type: 'dev', path: join(directory, 'none') }] }, /does not exist/u],
    [{ channels: [{ name: 'a', mode: 'connect', path: join(directory, 'none') }] }, /does not exist/u],
  ]
  for (const [devices, message] of missing)
    await assert.rejects(
      withGuest('missing', devices, async () => {}),
      { code: 'not-found', message },
    )
})
