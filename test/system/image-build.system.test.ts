/**
 * A disk built of a distribution's packages, as a user has it built, and the machine that it becomes: with a real visord,
 * the real archive, QEMU and ssh. It takes minutes.
 */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { run } from '../../src/host/index.ts'
import { freePort } from '../fixtures/iscsi-target.ts'
import { type CommandResult, visorCommand } from '../fixtures/visor-command.ts'
import { startVisord, type Visord } from '../fixtures/visord.ts'

async function whyNot(): Promise<string | false> {
  if (process.getuid?.() !== 0) return 'disks are built as root'
  for (const program of ['mmdebstrap', 'mke2fs', 'qemu-img', 'qemu-system-x86_64', 'ssh', 'ssh-keygen'])
    if ((await run('which', [program])).code !== 0) return `${program} is not installed`
  const index = 'http://deb.debian.org/debian/dists/bookworm/InRelease'
  const there = await fetch(index, { method: 'HEAD', signal: AbortSignal.timeout(30_000) }).catch(
    () => undefined,
  )
  return !there?.ok && `${index} cannot be reached`
}

const skip = process.arch === 'x64' ? await whyNot() : 'disks are built for x86_64'
const patienceMs = 900_000

describe('a disk built of packages', { skip }, () => {
  let visord: Visord
  let folder = ''
  let connection: CompleteConnection
  let visor: (...args: string[]) => Promise<CommandResult>

  before(async () => {
    visord = await startVisord({ drivers: ['qemu'] })
    folder = join(visord.directories.state, '..')
    const command = visorCommand(visord.directories)
    visor = (...args) => command(args, { cwd: folder, env: { SOURCE_DATE_EPOCH: undefined } })
    connection = await visord.connect()
  })
  after(async () => {
    for (const { uuid, state } of await connection.domains.list())
      if (state !== 'shutoff') await connection.domains.destroy(uuid)
    await connection.close()
    await visord.dispose()
  })

  const succeed = async (...args: string[]) => {
    const result = await visor(...args)
    assert.equal(result.code, 0, `visor ${args.join(' ')}: ${result.stderr}`)
    return result
  }
  const fails = async (wanted: RegExp, ...args: string[]) => {
    const result = await visor(...args)
    assert.notEqual(result.code, 0, `visor ${args.join(' ')}`)
    assert.match(result.stderr, wanted)
  }
  const waitFor = async <T>(what: string, look: () => Promise<T | undefined>): Promise<T> => {
    const deadline = performance.now() + patienceMs
    while (performance.now() < deadline) {
      const found = await look().catch(() => undefined)
      if (found !== undefined) return found
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    throw new Error(`Waited in vain for ${what}.`)
  }
  const images = () => join(visord.directories.state, 'images')
  const builds = async () => (await readdir(images())).filter((name) => name.startsWith('.build-'))

  test('what cannot be built is refused, and leaves nothing', async () => {
    await fails(/no recipe for an image 'debian-21'[\s\S]*debian-/u, 'image', 'build', 'debian-21')
    await fails(/cannot be built|not built for/u, 'image', 'build', 'debian-12', '--arch', 'aarch64')
    await fails(/512 MiB/u, 'image', 'build', 'debian-12', '--size', '64MiB')
    await fails(/always the same/u, 'image', 'build', 'micro', '--package', 'nginx')
    await fails(/name of a package/u, 'image', 'build', 'debian-12', '--package', 'a;reboot')
    await fails(/address/u, 'image', 'build', 'debian-12', '--mirror', 'http://a b')
    await fails(
      /no package 'visor-has-no-such'/u,
      'image',
      'build',
      'debian-12',
      '--package',
      'visor-has-no-such',
    )
    await fails(
      /could not be read[\s\S]*--mirror/u,
      ...['image', 'build', 'debian-12', '--mirror', `http://127.0.0.1:${await freePort()}/debian`],
    )
    assert.deepEqual(await builds(), [])
  })

  test('visord that is killed in the middle takes the build along, and removes what is left', async () => {
    const build = visor('image', 'build', 'debian-12', '--name', 'killed')
    const scratch = await waitFor('packages being installed', async () => {
      const name = (await builds()).find((one) => one.endsWith('-scratch'))
      const there = name && (await readdir(join(images(), name, 'root/usr/bin'))).length > 100
      return there ? join(images(), name) : undefined
    })
    const workers = await processesOf(scratch)
    assert.notEqual(workers.length, 0)
    await visord.kill()
    assert.notEqual((await build).code, 0)
    await waitFor('the end of the build', async () =>
      (await processesOf(scratch)).length === 0 ? true : undefined,
    )
    await connection.close()
    await visord.start()
    connection = await visord.connect()
    await waitFor('what was left to be gone', async () => ((await builds()).length === 0 ? true : undefined))
  })

  test('it boots, takes what it is told, and is the same when it is built again', async () => {
    const first = await succeed('image', 'build', 'debian-12')
    assert.match(first.stderr, /debian-12-built .* is built/u)
    assert.match((await succeed('image', 'build', 'debian-12')).stderr, /was there already/u)
    const image = await connection.images.get('debian-12-built')
    assert.ok(
      image.sources.some((one) => one.package === 'qemu-guest-agent' && /^[0-9a-f]{64}$/u.test(one.sha256)),
    )

    const id = join(folder, 'id')
    assert.equal((await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', id])).code, 0)
    const port = String(await freePort())
    await succeed(
      ...['create', 'web', '--image', 'debian-12-built', '--disk', '4GiB', '--memory', '1GiB'],
      ...['--ssh-key', `${id}.pub`, '--hostname', 'web-of-test', '--publish', `${port}:22`],
    )
    const [, again] = await Promise.all([
      useGuest(id, port),
      succeed('image', 'build', 'debian-12', '--name', 'again').then(() => connection.images.get('again')),
    ])
    assert.deepEqual(again.sources, image.sources)
    assert.equal(again.sha256, image.sha256)
    assert.deepEqual((await builds()).length, 2)
  })

  async function useGuest(id: string, port: string): Promise<void> {
    const options = [
      'StrictHostKeyChecking=no',
      'UserKnownHostsFile=/dev/null',
      'BatchMode=yes',
      'ConnectTimeout=20',
    ]
    const ssh = (command: string) =>
      run(
        'ssh',
        [
          ...['-F', '/dev/null', '-i', id, '-p', port, ...options.flatMap((option) => ['-o', option])],
          ...['debian@127.0.0.1', command],
        ],
        { timeoutMs: 300_000 },
      )
    const script =
      'cloud-init status --wait >/dev/null; hostname; sudo id -u; df --output=size -BM / | tail -1; cat /etc/debian_version'
    const said = await waitFor('ssh', async () => {
      const { code, stdout } = await ssh(script)
      return code === 0 ? stdout.trim().split(/\s+/u) : undefined
    })
    const [host, root, size = '', version = ''] = said
    assert.deepEqual([host, root], ['web-of-test', '0'])
    assert.ok(Number.parseInt(size, 10) > 3500, `the root file system has ${size} of 4 GiB`)
    assert.match(version, /^12\./u)
    const info = await waitFor('the agent', () => connection.agent.info('web'))
    assert.equal(info.hostname, 'web-of-test')
    const program = await connection.agent.exec('web', { program: 'uname', args: ['-s'] })
    assert.equal(program.exitCode, 0)
  }
})

/** Processes that have a path below this folder in their command line. */
async function processesOf(folder: string): Promise<string[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/u.test(name))
  const lines = await Promise.all(ids.map((id) => readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')))
  return ids.filter((_, index) => lines[index]?.includes(folder))
}
