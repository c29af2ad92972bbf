import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { peerCredentials, sendDatagram } from './syscall.ts'

describe('syscall', () => {
  let directory: string
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-syscall-'))
  })
  after(() => rm(directory, { recursive: true }))

  const accepted = async (where: string | number): Promise<[Socket, () => void]> => {
    const server = createServer()
    server.listen(where)
    await once(server, 'listening')
    const client = typeof where === 'string' ? dial(where) : dial((server.address() as AddressInfo).port)
    const [socket] = (await once(server, 'connection')) as [Socket]
    return [
      socket,
      () => {
        client.destroy()
        socket.destroy()
        server.close()
      },
    ]
  }

  it('knows who is at a unix socket, and nobody at a TCP one', async () => {
    const [unix, endUnix] = await accepted(join(directory, 'peer.sock'))
    assert.deepEqual(await peerCredentials(unix), {
      pid: process.pid,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
    })
    endUnix()
    assert.equal(await peerCredentials(unix), undefined)
    const [tcp, endTcp] = await accepted(0)
    assert.equal(await peerCredentials(tcp), undefined)
    endTcp()
  })

  it('sends datagrams to paths and to abstract names', async () => {
    for (const path of [join(directory, 'notify.sock'), `@visor-test-${process.pid}`]) {
      const receiver = spawn(
        'python3',
        [
          '-c',
          `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace('@', '\\0', 1) if sys.argv[1][0] == '@' else sys.argv[1])
print('bound', end='', flush=True)
print(s.recv(100).decode(), end='', flush=True)`,
          path,
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      await once(receiver.stdout, 'data')
      const said = once(receiver.stdout, 'data')
      assert.equal(await sendDatagram(path, 'READY=1'), true)
      assert.equal(String((await said)[0]), 'READY=1')
      await once(receiver, 'exit')
    }
    assert.equal(await sendDatagram(join(directory, 'nobody.sock'), 'READY=1'), false)
    assert.equal(await sendDatagram(`/${'x'.repeat(200)}`, 'READY=1'), false)
  })
})
