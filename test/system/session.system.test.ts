/** A user's own visord: no root, directories after the XDG specification, the same promises. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chown, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { connect } from '../../src/connect/index.ts'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { type Directories, findDirectories } from '../../src/host/index.ts'
import { greeting, writeBootSector } from '../fixtures/boot-sector.ts'
import { guestProcesses } from '../fixtures/footprint.ts'
import { bootSectorMachines, missing } from '../fixtures/machines.ts'
import { visorProgram } from '../fixtures/visor-command.ts'

const visordProgram = resolve(import.meta.dirname, '../../src/daemon/main.ts')
const isRoot = process.getuid?.() === 0
/** `nobody`, where this is root; else whoever runs the test. */
const user = isRoot
  ? { uid: 65_534, gid: 65_534 }
  : { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }

function cannotRun(): string | false {
  const tried = spawnSync(process.execPath, [visordProgram, '--version'], { ...user, cwd: '/' })
  return tried.status === 0 ? false : 'an unprivileged user may not read this checkout'
}

describe('a session', { skip: missing('qemu') || cannotRun() }, () => {
  test("runs, keeps, finds again and ends guests, all below the user's own directories", async (context) => {
    const session = await openSession()
    context.after(() => session.dispose())
    const disk = await writeBootSector(join(session.home, 'boot.raw'))
    await session.start()
    let connection = await session.connect()
    const { domains } = connection
    const { uuid } = await domains.define(bootSectorMachines.qemu('mine', disk))
    await domains.start(uuid)
    await hear(connection, uuid)
    const { pid = 0 } = await domains.get(uuid)
    assert.match(await readFile(`/proc/${pid}/status`, 'utf8'), new RegExp(`^Uid:\\s+${user.uid}\\s`, 'mu'))
    assert.match(session.visor('list').stdout, /mine\s+running/u)

    await domains.save(uuid)
    assert.equal((await domains.get(uuid)).state, 'shutoff')
    await domains.start(uuid)
    const restored = await domains.get(uuid)
    assert.equal(restored.reason, 'restored')

    await session.end('SIGKILL')
    await connection.close()
    await session.start()
    connection = await session.connect()
    const adopted = await connection.domains.get(uuid)
    assert.deepEqual([adopted.state, adopted.pid], ['running', restored.pid])
    await connection.domains.shutdown(uuid)
    await isOff(connection, uuid)
    await connection.domains.undefine(uuid)
    await connection.close()
    assert.equal(await session.end('SIGTERM'), 0, session.log())
    assert.deepEqual(await guestProcesses(session.directories), [])
  })
})

async function hear(connection: CompleteConnection, uuid: string): Promise<void> {
  const console = await connection.domains.openConsole(uuid, { scrollback: true })
  let said = ''
  for await (const bytes of console) {
    said += Buffer.from(bytes).toString('latin1')
    if (said.includes(greeting)) break
  }
  await console.close()
  assert.ok(said.includes(greeting))
}

async function isOff(connection: CompleteConnection, uuid: string): Promise<void> {
  const ended = new AbortController()
  const events = connection.events({ signal: ended.signal })
  const off = (async () => {
    for await (const { uuid: about, type } of events) if (about === uuid && type === 'stopped') return
  })()
  if ((await connection.domains.get(uuid)).state !== 'shutoff') await off
  ended.abort()
  assert.equal((await connection.domains.get(uuid)).state, 'shutoff')
}

/** A home of the user's with a visord in it, told about its directories by the environment alone. */
async function openSession() {
  const home = await mkdtemp(join(tmpdir(), 'visor-me-'))
  const environment: Record<string, string> = {
    PATH: process.env.PATH ?? '',
    HOME: home,
    XDG_RUNTIME_DIR: join(home, 'run'),
    NO_COLOR: '1',
  }
  await mkdir(join(home, 'run'), { mode: 0o700 })
  for (const path of [home, join(home, 'run')]) await chown(path, user.uid, user.gid)
  const directories: Directories = findDirectories(environment, user.uid)
  let child: ChildProcess | undefined
  let logged = ''

  async function end(signal: NodeJS.Signals): Promise<number | null> {
    const running = child
    child = undefined
    if (!running || running.exitCode !== null) return running?.exitCode ?? null
    const exited = once(running, 'exit')
    running.kill(signal)
    return (await exited)[0]
  }

  return {
    home,
    directories,
    end,
    log: () => logged,
    connect: () => connect(undefined, { directories }),
    visor: (...args: string[]) =>
      spawnSync(process.execPath, [visorProgram, ...args], {
        ...user,
        cwd: home,
        env: environment,
        encoding: 'utf8',
      }),
    async start() {
      const from = logged.length
      const args = [visordProgram, '--no-tcp', '--log-format', 'json', '--drivers', 'qemu']
      const options = { ...user, cwd: home, env: environment }
      const started = spawn(process.execPath, args, { ...options, stdio: ['ignore', 'ignore', 'pipe'] })
      child = started
      started.stderr?.setEncoding('utf8').on('data', (text: string) => {
        logged += text
      })
      while (!/"(msg|message)":"ready"/u.test(logged.slice(from))) {
        assert.equal(started.exitCode, null, `visord did not start:\n${logged.slice(from)}`)
        await new Promise((done) => setTimeout(done, 10))
      }
    },
    async dispose() {
      await end('SIGTERM')
      for (const { pid } of await guestProcesses(directories)) process.kill(pid, 'SIGKILL')
      await rm(home, { recursive: true, force: true })
    },
  }
}
