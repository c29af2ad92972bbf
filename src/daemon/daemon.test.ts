import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, it } from 'node:test'

const program = join(import.meta.dirname, 'main.ts')

/** A visord as a process, and what it logged. */
class Visord {
  readonly lines: Record<string, unknown>[] = []
  readonly output: string[] = []
  readonly process: ChildProcess
  readonly ended: Promise<number>
  readonly #waiting: (() => void)[] = []

  constructor(directory: string, flags: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
    const places = ['--state-dir', join(directory, 'state'), '--runtime-dir', join(directory, 'run')]
    const rest = ['--drivers', 'test:///empty?keep=1', '--log-format', 'json']
    const tcp = flags.some((flag) => /tcp|listen/u.test(flag)) ? [] : ['--listen', '127.0.0.1:0']
    this.process = spawn(process.execPath, [program, ...places, ...rest, ...tcp, ...flags], {
      stdio: ['ignore', 'inherit', 'pipe'],
      env: { ...process.env, ...env },
    })
    const { stderr } = this.process
    assert.ok(stderr)
    createInterface({ input: stderr }).on('line', (line) => {
      this.output.push(line)
      if (line.startsWith('{')) this.lines.push(JSON.parse(line))
      for (const wake of this.#waiting.splice(0)) wake()
    })
    this.ended = once(this.process, 'close').then(([code, signal]) => code ?? signal)
    void this.ended.then(() => {
      for (const wake of this.#waiting.splice(0)) wake()
    })
  }

  /** The first line with this message, when it comes. */
  async line(message: string): Promise<Record<string, unknown>> {
    for (;;) {
      const found = this.lines.find(({ msg }) => msg === message)
      if (found) return found
      if (this.process.exitCode !== null)
        throw new Error(`visord ended without '${message}':\n${this.output.join('\n')}`)
      await this.next()
    }
  }

  /** Resolves at the next line, or the end. */
  next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}

describe('visord', () => {
  let directory: string
  let started: Visord[]
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visord-'))
    // One program alone can answer at the usual place.
    await writeFile(join(directory, 'default.yaml'), 'names: none\n')
    started = []
  })
  afterEach(async () => {
    for (const { process: child, ended } of started) {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await ended
    }
    await rm(directory, { recursive: true })
  })

  const start = (flags?: readonly string[], env?: NodeJS.ProcessEnv, place = directory) => {
    const usual = { VISOR_CONFIG: join(directory, 'default.yaml') }
    const visord = new Visord(place, flags, { ...usual, ...env })
    started.push(visord)
    return visord
  }
  const socketPath = () => join(directory, 'run/visord.sock')
  const ask = async (path: string, options: object = {}, body?: string) => {
    const request = httpRequest({ socketPath: socketPath(), path, ...options })
    request.end(body)
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const chunks = []
    for await (const chunk of response) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString()
    return {
      status: response.statusCode,
      headers: response.headers,
      body: text ? JSON.parse(text) : undefined,
    }
  }

  it('reads again at SIGHUP what can change, and goes on', async () => {
    const config = join(directory, 'visord.yaml')
    await writeFile(config, 'logLevel: info\n')
    const visord = start(['--config', config])
    const { url } = await visord.line('ready')
    const tokenFile = join(directory, 'state/token')
    const login = async (token: string) =>
      (await fetch(`${url}/v1/domains`, { headers: { authorization: `Bearer ${token.trim()}` } })).status
    const before = readFileSync(tokenFile, 'utf8')
    assert.equal(await login(before), 200)

    await writeFile(config, 'logLevel: wrong\n')
    visord.process.kill('SIGHUP')
    while (!visord.lines.some(({ level }) => level === 'error')) await visord.next()
    assert.equal(await login(before), 200)

    const after = 'another-token-that-is-long-enough-to-be-safe'
    await writeFile(tokenFile, `${after}\n`)
    await writeFile(config, 'logLevel: debug\nconnectionLimit: 7\n')
    visord.process.kill('SIGHUP')
    const { logLevel, untilRestart } = await visord.line('configuration read again')
    assert.deepEqual({ logLevel, untilRestart }, { logLevel: 'debug', untilRestart: ['connectionLimit'] })
    assert.equal(await login(after), 200)
    assert.equal(await login(before), 401)
    visord.process.kill('SIGTERM')
    assert.equal(await visord.ended, 0)
  })

  it('is ready when it says so, and leaves nothing when it stops', async () => {
    const visord = start()
    const ready = await visord.line('ready')
    assert.equal(ready.socket, socketPath())
    assert.deepEqual(JSON.parse(readFileSync(join(directory, 'run/visord.json'), 'utf8')), {
      pid: visord.process.pid,
      startTime: ready.startTime,
      version: ready.version,
      socket: socketPath(),
      url: ready.url,
      tokenFile: join(directory, 'state/token'),
    })
    assert.equal((await stat(socketPath())).mode & 0o777, 0o660)
    assert.equal((await stat(join(directory, 'state'))).mode & 0o777, 0o700)
    assert.equal((await ask('/readyz')).status, 200)
    visord.process.kill('SIGTERM')
    assert.equal(await visord.ended, 0)
    assert.ok(!existsSync(socketPath()))
    assert.ok(!existsSync(join(directory, 'run/visord.json')))
    assert.ok(!existsSync(join(directory, 'state/store.db.owner')))
  })

  it('knows who is at the socket, and over TCP asks for the token', async () => {
    const visord = start()
    const url = new URL(String((await visord.line('ready')).url))
    const tcp = { socketPath: undefined, host: url.hostname, port: url.port }
    const expected = process.getuid?.() === 0 ? 'root' : `uid ${process.getuid?.()}`
    assert.deepEqual((await ask('/v1/session')).body, { name: expected, access: 'admin' })
    assert.equal((await ask('/v1/domains', tcp)).status, 401)
    assert.equal((await ask('/v1/domains', { ...tcp, headers: { authorization: 'Bearer x' } })).status, 401)
    const token = readFileSync(join(directory, 'state/token'), 'utf8').trim()
    const login = await ask('/v1/session', { ...tcp, headers: { authorization: `Bearer ${token}` } })
    assert.deepEqual(login.body, { name: 'token', access: 'admin' })
  })

  it('logs JSON with the id of each request', async () => {
    const visord = start(['--log-level', 'debug'])
    await visord.line('ready')
    const { headers } = await ask('/v1/domains/none', { headers: { 'x-request-id': 'mine.1' } })
    assert.equal(headers['x-request-id'], 'mine.1')
    await ask('/v1/domains')
    visord.process.kill('SIGTERM')
    await visord.ended
    assert.equal(visord.lines.length, visord.output.length, 'every line is JSON')
    const requests = visord.lines.filter(({ msg }) => msg === 'request')
    assert.deepEqual(
      requests.map(({ path, status }) => [path, status]),
      [
        ['/v1/domains/none', 404],
        ['/v1/domains', 200],
      ],
    )
    assert.equal(requests[0]?.requestId, 'mine.1')
    assert.match(String(requests[1]?.requestId), /^[\da-f-]{36}$/)
  })

  it('has its state directory and its socket to itself', async () => {
    const first = start()
    await first.line('ready')
    const second = start()
    assert.equal(await second.ended, 1)
    const { error } = second.lines.at(-1) as { error: { code: string; message: string; remedy: string } }
    assert.equal(error.code, 'busy')
    assert.match(
      error.message,
      new RegExp(`state directory '${directory}/state' is in use by the process ${first.process.pid}`),
    )
    assert.match(error.remedy, /--state-dir/)
    const third = start(['--state-dir', join(directory, 'other')])
    assert.equal(await third.ended, 1)
    assert.match(third.output.join(), /Another visord serves on/)
    assert.equal((await ask('/readyz')).status, 200, 'the first goes on')
  })

  it('starts anew after kill -9, with what was defined', async () => {
    const first = start()
    await first.line('ready')
    const definition = { type: 'test', name: 'kept', memoryKiB: 1024 }
    const headers = { 'content-type': 'application/json' }
    const created = await ask('/v1/domains', { method: 'POST', headers }, JSON.stringify(definition))
    assert.equal(created.status, 201)
    first.process.kill('SIGKILL')
    await first.ended
    assert.ok(existsSync(socketPath()), 'its socket was left behind')
    await start().line('ready')
    const { body } = await ask('/v1/domains')
    assert.deepEqual(
      body.map(({ name }: { name: string }) => name),
      ['kept'],
    )
  })

  it('takes another port when its usual one is in use, but not when it was asked for it', async () => {
    const first = start()
    const { port } = new URL(String((await first.line('ready')).url))
    const other = join(directory, 'other')
    await mkdir(other)
    const asked = start(['--listen', `127.0.0.1:${port}`], {}, other)
    assert.equal(await asked.ended, 1)
    assert.match(asked.output.join(), /listens on 127\.0\.0\.1:\d+ already/)
    assert.ok(!existsSync(join(other, 'run/visord.sock')))
    assert.ok(!existsSync(join(other, 'state/store.db.owner')))
  })

  it('goes on without a driver that cannot run here, and tells why', async () => {
    const visord = start(['--drivers', 'test:///nowhere'])
    await visord.line('ready')
    const [capabilities] = (await ask('/v1/host/capabilities')).body
    assert.equal(capabilities.driver, 'test')
    assert.deepEqual(capabilities.guests, [])
    assert.match(capabilities.notes[0], /^Cannot be used on this host: .*nowhere/)
    assert.deepEqual((await ask('/v1/domains')).body, [])
    const definition = JSON.stringify({ type: 'test', name: 'a', memoryKiB: 1024 })
    const headers = { 'content-type': 'application/json' }
    const { status, body } = await ask('/v1/domains', { method: 'POST', headers }, definition)
    assert.equal(status, 503)
    assert.match(body.detail, /Driver test cannot be used on this host: .*nowhere/)
  })

  it('ends streams when it stops', async () => {
    const visord = start()
    await visord.line('ready')
    const request = httpRequest({ socketPath: socketPath(), path: '/v1/events' })
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const [first] = await once(response, 'data')
    assert.match(String(first), /listening/)
    const over = once(response.resume(), 'end')
    visord.process.kill('SIGINT')
    await over
    assert.equal(await visord.ended, 0)
  })

  it('waits for what is under way, until it is told a second time', async () => {
    for (const twice of [false, true]) {
      const visord = start(['--drivers', `test:///default?hang=domains.shutdown`])
      await visord.line('ready')
      const domain = '/v1/domains/test'
      const request = httpRequest({ socketPath: socketPath(), path: `${domain}/shutdown`, method: 'POST' })
      request.on('error', () => {})
      request.end()
      while (!(await ask('/v1/jobs')).body.some(({ state }: { state: string }) => state === 'running'));
      const [job] = (await ask('/v1/jobs')).body
      visord.process.kill('SIGTERM')
      await visord.line('stopping')
      if (twice) visord.process.kill('SIGTERM')
      else request.destroy()
      if (twice) assert.equal(await visord.ended, 1)
      else {
        // It still waits: nothing but the second signal, or its patience, ends it now.
        assert.equal(visord.process.exitCode, null)
        assert.ok(job.id)
        visord.process.kill('SIGKILL')
        await visord.ended
      }
    }
  })

  it('tells systemd', async (t) => {
    const path = join(directory, 'notify.sock')
    const receiver = spawn(
      'python3',
      [
        '-uc',
        'import socket, sys\ns = socket.socket(1, 2)\ns.bind(sys.argv[1])\nprint("bound")\nwhile 1: print(s.recv(999))',
        path,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    t.after(() => receiver.kill())
    const lines = createInterface({ input: receiver.stdout })[Symbol.asyncIterator]()
    const next = async () => {
      const { done, value } = await lines.next()
      if (done) throw new Error('The receiver ended.')
      return String(value)
    }
    assert.equal(await next(), 'bound')
    const visord = start([], { NOTIFY_SOCKET: path, WATCHDOG_USEC: '100000' })
    void visord.ended.then(() => receiver.kill())
    assert.match(
      await next(),
      new RegExp(`READY=1.*MAINPID=${visord.process.pid}.*STATUS=Serving on ${socketPath()}`),
    )
    assert.match(await next(), /WATCHDOG=1/)
    visord.process.kill('SIGTERM')
    let last = ''
    while (!last.includes('STOPPING=1')) last = await next()
    assert.equal(await visord.ended, 0)
  })

  it('does not use directories that others could write to', async () => {
    await mkdir(join(directory, 'run'))
    await chmod(join(directory, 'run'), 0o777)
    const open = start()
    assert.equal(await open.ended, 1)
    assert.match(open.output.join(), /others may write to it/)
    await rm(join(directory, 'run'), { recursive: true })
    await symlink('/tmp', join(directory, 'run'))
    const linked = start()
    assert.equal(await linked.ended, 1)
    assert.match(linked.output.join(), /it is no directory/)
  })

  it('checks its configuration', async () => {
    const file = join(directory, 'visord.yaml')
    const check = () =>
      spawnSync(process.execPath, [program, '--check-config', '--config', file], { encoding: 'utf8' })
    await writeFile(file, 'drivers: [test]\n')
    assert.equal(check().status, 0)
    await writeFile(file, 'drivers: [tset]\n')
    const { status, stderr } = check()
    assert.equal(status, 2)
    assert.match(stderr, /visord\.yaml: .*drivers\[0\].*line 1/s)
  })
})
