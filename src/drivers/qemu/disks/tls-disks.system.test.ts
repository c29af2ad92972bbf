/** Disks over TLS, from real servers on loopback: NBD with certificates of both ends, and the web. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { DomainDefinitionInput } from '../../../model/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { hasOpenssl, makeCertificates } from '../testing/test-certificates.ts'
import { type DiskGround, disksMissing, openDiskGround } from '../testing/test-disk-ground.ts'

type Disk = NonNullable<NonNullable<DomainDefinitionInput['devices']>['disks']>[number]

const missing =
  (await disksMissing()) ||
  (!(await findProgram('qemu-nbd')) && 'qemu-nbd is not installed') ||
  (!hasOpenssl && 'openssl is not installed')

describe('disks over TLS', { skip: missing }, () => {
  let ground: DiskGround
  let number = 0
  const certificates = (name: string) => join(ground.directory, name)

  before(async () => {
    ground = await openDiskGround()
    for (const name of ['ours', 'others']) await makeCertificates(certificates(name))
  })
  after(() => ground.close())

  /** Boots from it, or fails as the start does. */
  async function boots(disk: Omit<Disk, 'target'>): Promise<void> {
    const { domains } = ground.connection
    const disks = [{ type: 'network' as const, target: 'vda', readonly: true, ...disk }]
    const name = `remote-${++number}`
    const devices = { disks, serials: [{}] }
    const { uuid } = await domains.define({ type: 'qemu', name, memoryKiB: 32_768, devices })
    try {
      const guest = await ground.boot(uuid)
      await guest.close()
      await domains.destroy(uuid)
    } finally {
      await domains.undefine(uuid)
    }
  }

  test('NBD: boots with the right certificates only, and says when nobody is there', async () => {
    const port = await freePort()
    const credentials = `tls-creds-x509,id=t,dir=${certificates('ours')},endpoint=server,verify-peer=yes`
    const served = ['-b', '127.0.0.1', '-p', `${port}`, '-x', 'disk', '-f', 'raw', '-r', '-t', '-e', '8']
    const file = join(ground.directory, 'boot.raw')
    const server = spawn('qemu-nbd', ['--object', credentials, '--tls-creds', 't', ...served, file], {
      stdio: 'ignore',
    })
    const disk = (directory?: string) => ({
      protocol: 'nbd' as const,
      name: 'disk',
      hosts: [{ name: '127.0.0.1', port }],
      ...(directory === undefined ? {} : { tls: true, tlsDirectory: certificates(directory) }),
    })
    try {
      await listening(port)
      await boots(disk('ours'))
      await assert.rejects(boots(disk('others')), { code: 'failed', message: /certificate/iu })
      await assert.rejects(boots(disk()), { code: 'failed', message: /TLS/u })
    } finally {
      server.kill()
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
    }
    await assert.rejects(boots(disk('ours')), { code: 'failed', message: /refused/iu })
  })

  test('the web: the certificate is checked unless that is switched off', async () => {
    const content = await readFile(join(ground.directory, 'boot.raw'))
    const [key, cert] = await Promise.all(
      ['server-key.pem', 'server-cert.pem'].map((name) => readFile(join(certificates('ours'), name))),
    )
    const server = createServer({ key, cert }, (request, response) => {
      const [, from, to] = /^bytes=(\d+)-(\d+)$/u.exec(request.headers.range ?? '') ?? []
      const part = from === undefined ? content : content.subarray(Number(from), Number(to) + 1)
      const headers = { 'accept-ranges': 'bytes', 'content-length': part.length }
      response.writeHead(from === undefined ? 200 : 206, headers)
      response.end(request.method === 'HEAD' ? undefined : part)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const disk = { protocol: 'https' as const, name: 'boot.raw', hosts: [{ name: '127.0.0.1', port }] }
    try {
      await boots({ ...disk, sslVerify: false })
      await assert.rejects(boots(disk), { code: 'failed', message: /certificate|SSL/iu })
    } finally {
      server.closeAllConnections()
      server.close()
    }
    await assert.rejects(boots({ ...disk, sslVerify: false }), { code: 'failed', message: /connect/iu })
  })
})

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function listening(port: number): Promise<void> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const isThere = await new Promise<boolean>((resolve) =>
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
    )
    socket.destroy()
    if (isThere) return
    assert.ok(performance.now() < deadline, 'The server does not answer.')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
