import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { readFilesystems, readInterfaces, readUsers } from './read-answers.ts'
import { withSession } from './session.ts'

let directory = ''
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'visor-agent-'))
})
after(() => rm(directory, { recursive: true, force: true }))

/** A guest that answers each request line as it likes. */
async function withGuest(
  name: string,
  answer: (request: { execute: string; arguments: { id?: number } }, socket: Socket) => void,
  use: (path: string) => Promise<void>,
): Promise<void> {
  const path = join(directory, name)
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      for (const line of chunk.toString('latin1').split('\n'))
        if (line.includes('{')) answer(JSON.parse(line.slice(line.indexOf('{'))), socket)
    })
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  try {
    await use(path)
  } finally {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
}

const sync = (id: number | undefined) =>
  Buffer.concat([Buffer.from([0xff]), Buffer.from(`{"return": ${id}}\n`)])

test('what was said to somebody else before is passed over', () =>
  withGuest(
    'late',
    ({ execute, arguments: { id } }, socket) => {
      if (execute !== 'guest-sync-delimited') return void socket.write('{"return": 7}\n')
      socket.write('{"return": 1}\nno JSON\n[1]\n"text"\n{"other": 1}\n{"retu')
      socket.write(sync(id))
    },
    async (path) => {
      const answer = await withSession({ name: 'late', path, timeoutMs: 5_000 }, (agent) =>
        agent.execute('guest-ping'),
      )
      assert.equal(answer, 7)
    },
  ))

test('an agent that refuses, does not know, floods, or says nothing is told apart', () =>
  withGuest(
    'bad',
    ({ execute, arguments: { id } }, socket) => {
      if (execute === 'guest-sync-delimited') socket.write(sync(id))
      if (execute === 'refused')
        socket.write(`{"error": {"class": "GenericError", "desc": "${'no '.repeat(5000)}"}}\n`)
      if (execute === 'unknown') socket.write('{"error": {"class": "CommandNotFound", "desc": "x"}}\n')
      if (execute === 'odd') socket.write('{"error": 5}\n')
      if (execute === 'flood') socket.write(Buffer.alloc(17 * 1024 * 1024, 'x'))
    },
    async (path) => {
      const ask = (command: string) =>
        withSession({ name: 'bad', path, timeoutMs: 300 }, (agent) =>
          agent.execute(command, {}, { timeoutMs: command === 'flood' ? 20_000 : 300 }),
        )
      await assert.rejects(ask('refused'), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'failed')
        assert.ok(error.message.length < 1200)
        return true
      })
      await assert.rejects(ask('unknown'), { code: 'unavailable', message: /does not know unknown/u })
      await assert.rejects(ask('odd'), { code: 'failed' })
      await assert.rejects(ask('flood'), { code: 'unavailable' })
      await assert.rejects(ask('silence'), { code: 'unavailable', message: /does not answer/u })
    },
  ))

test('no socket, or none that syncs, is no agent', async () => {
  const path = join(directory, 'none')
  const ask = (at: string) => withSession({ name: 'x', path: at, timeoutMs: 100 }, async () => 1)
  await assert.rejects(ask(path), { code: 'unavailable' })
  await withGuest(
    'mute',
    () => {},
    (mute) => assert.rejects(ask(mute), { code: 'unavailable' }),
  )
})

test('answers of any shape are read', () => {
  const odd = [null, 1, 'x', {}, { name: 5 }, [[]]]
  for (const answer of [...odd, odd]) {
    assert.deepEqual(readInterfaces(answer), [])
    assert.deepEqual(readFilesystems(answer, []), [])
    assert.deepEqual(readUsers(answer), [])
  }
  assert.deepEqual(readUsers([{ user: 'a', 'login-time': 1e300 }]), [])
  assert.deepEqual(
    readInterfaces([
      {
        name: 'eth0',
        'hardware-address': '52:54:00:00:00:01',
        'ip-addresses': [
          { 'ip-address': '10.0.2.15', 'ip-address-type': 'ipv4', prefix: 24 },
          { prefix: 999 },
        ],
      },
    ]),
    [
      {
        name: 'eth0',
        mac: '52:54:00:00:00:01',
        addresses: [{ address: '10.0.2.15', family: 'ipv4', prefix: 24 }],
      },
    ],
  )
})
