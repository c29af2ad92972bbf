/**
 * `visor exec`, `cp` and `ssh` as a user has them: real guests, one with QEMU's agent, one with only an SSH server, on a
 * test host of its own.
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { run } from '../../src/host/index.ts'
import { buildTestImage } from '../../src/storage/testing/test-images.ts'
import { addPackages, agentPackages, sshPackages, startAgent } from '../fixtures/guest-packages.ts'
import { isOnTestHost, missingForTestHost, onTestHost, setUpTestHost } from '../fixtures/test-host.ts'
import { visorCommand } from '../fixtures/visor-command.ts'
import { startVisord } from '../fixtures/visord.ts'

const startSsh = 'dropbear -R -E >/run/ssh.log 2>&1\n'
const forwarded = 22_022

async function runOnTestHost(folder: string, kernel: string): Promise<void> {
  setUpTestHost()
  const visord = await startVisord({ drivers: ['qemu'] })
  const command = visorCommand(visord.directories)
  const visor = (args: readonly string[], input = '') => command(args, { cwd: folder, input })
  const succeed = async (args: readonly string[], input = '') => {
    const result = await visor(args, input)
    assert.equal(result.code, 0, `visor ${args.join(' ')}: ${result.stderr}`)
    return result
  }
  const fails = async (code: number, wanted: RegExp, ...args: string[]) => {
    const result = await visor(args)
    assert.equal(result.code, code, `visor ${args.join(' ')}: ${result.code} ${result.stderr}`)
    assert.match(result.stderr, wanted)
  }
  const connection = await visord.connect()
  const { domains } = connection
  const define = (name: string, initrd: string, devices: object) =>
    domains.define({
      ...{ type: 'qemu', name, memoryKiB: 192 * 1024 },
      os: { kernel, initrd, commandLine: `console=ttyS0 quiet no_timer_check visor.hostname=${name}` },
      features: { acpi: true },
      devices: { serials: [{}], ...devices },
    })
  try {
    await define('web', join(folder, 'agent-initrd'), {
      interfaces: [{ type: 'network', network: 'default', model: 'virtio' }],
      channels: [{ name: 'org.qemu.guest_agent.0' }],
    })
    const ranges = [{ start: forwarded, to: 22 }]
    await define('lone', join(folder, 'ssh-initrd'), {
      interfaces: [{ type: 'user', portForwards: [{ proto: 'tcp', address: '127.0.0.1', ranges }] }],
    })
    await fails(4, /'web' does not run: it is shutoff[\s\S]*visor start web/u, 'exec', 'web', 'true')
    await boot(connection, 'web', startAgent + startSsh)
    await boot(connection, 'lone', startSsh)
    await succeed(['wait', 'web', '--for', 'agent'])

    // The same words, whichever way they go.
    const identity = ['--identity', join(folder, 'id')]
    const ways = [
      ['web', '--via', 'agent'],
      ['web', '--via', 'ssh', ...identity],
      ['lone', ...identity],
    ] as const
    await succeed(['wait', 'web', '--for', 'ssh'])
    await succeed(['ssh', 'root@lone', '-i', join(folder, 'id'), '--', 'true'])
    for (const [domain, ...way] of ways) {
      const flags = ['exec', ...way, domain]
      const odd = `a 'b' "c" $HOME \\ *\n;`
      const said = await succeed([...flags, '--', 'printf', '%s|', odd, '', '-n'])
      assert.deepEqual([said.stdout, said.stderr], [`${odd}||-n|`, ''])
      const ended = await visor(
        [...flags, '-i', '-e', 'COLOUR=dark blue', '--', 'sh', '-c', 'cat; echo "$COLOUR" >&2; exit 7'],
        'handed in',
      )
      assert.deepEqual(ended, { code: 7, stdout: 'handed in', stderr: 'dark blue\n' })
      const json = JSON.parse((await succeed(['--json', ...flags, '--', 'hostname'])).stdout)
      assert.equal(Buffer.from(json.stdout, 'base64').toString(), `${domain}\n`)
      await fails(8, /(took too long|did not come to an end)/u, ...flags, '-t', '1', '--', 'sleep', '600')
    }
    assert.equal((await succeed(['exec', 'web', '--user', 'someone', '--', 'id', '-un'])).stdout, 'someone\n')
    const words = ['exec', 'web', '--user', 'someone', '--', 'printf', '%s|', "it's", '$0', '-c']
    assert.equal((await succeed(words)).stdout, "it's|$0|-c|")
    await fails(7, /no way into 'lone'[\s\S]*agent/u, 'exec', 'lone', '--via', 'agent', '--', 'true')
    say('programs were run')

    const content = randomBytes(3_000_001)
    const file = join(folder, 'a file')
    await writeFile(file, content)
    await chmod(file, 0o640)
    for (const [domain, ...way] of ways) {
      await succeed(['cp', ...way, 'a file', `${domain}:/tmp/b [1] file`])
      await succeed(['cp', ...way, `${domain}:/tmp/b [1] file`, 'back'])
      assert.ok(content.equals(await readFile(join(folder, 'back'))))
      assert.equal((await stat(join(folder, 'back'))).mode & 0o777, 0o640)
      await rm(join(folder, 'back'))
      const notThere = await visor(['cp', ...way, `${domain}:/nosuch`, 'back'])
      assert.notEqual(notThere.code, 0)
      assert.match(notThere.stderr, /nosuch/u)
      assert.notEqual((await visor(['cp', ...way, 'a file', `${domain}:/nosuch/b`])).code, 0)
    }
    // In place of what was there: its owner stays, and nothing is left beside it.
    await succeed(['exec', 'web', '--', 'sh', '-c', 'mkdir /tmp/d; echo old >/tmp/d/x; chown 1000 /tmp/d/x'])
    await succeed(['exec', 'web', '--', 'ln', '-s', 'x', '/tmp/d/a file'])
    await succeed(['cp', 'a file', 'web:/tmp/d'])
    const listed = await succeed([
      'exec',
      'web',
      '--',
      'sh',
      '-c',
      'ls -A /tmp/d; stat -c "%a %u %s" /tmp/d/x',
    ])
    assert.equal(listed.stdout, `a file\nx\n640 1000 ${content.length}\n`)
    await fails(2, /not a file[\s\S]*-r/u, 'cp', '.', 'web:/tmp')
    await fails(2, /not a file/u, 'cp', 'web:/tmp', '.')
    await fails(2, /begin with '\/'/u, 'cp', 'a file', 'web:here')
    await fails(3, /no folder/u, 'cp', 'a file', 'web:/nosuch/')
    await succeed(['exec', 'lone', ...identity, '--', 'mkdir', '-p', '/tmp/tree/sub'])
    await succeed(['exec', 'lone', ...identity, '--', 'touch', '/tmp/tree/sub/leaf'])
    await succeed(['cp', '-r', ...identity, 'lone:/tmp/tree', 'tree'])
    assert.deepEqual(await readdir(join(folder, 'tree/sub')), ['leaf'])
    await succeed(['cp', '-r', ...identity, 'tree', 'web:/tmp/tree'])
    await succeed(['exec', 'web', '--', 'test', '-f', '/tmp/tree/sub/leaf'])
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.includes('.visor-')),
      [],
    )
    say('files were copied')

    // Another key, as after a new installation, is refused until it is said to be right.
    const logIn = ['ssh', '-i', join(folder, 'id'), 'root@web', '--']
    const piped = await succeed([...logIn, 'cat; echo "$0" | wc -l'], 'typed\n')
    assert.deepEqual([piped.stdout, piped.stderr], ['typed\n1\n', ''])
    assert.equal((await visor([...logIn, 'exit 5'])).code, 5)
    await succeed(['exec', 'web', '--', 'sh', '-c', `killall dropbear; rm /etc/dropbear/*; ${startSsh}`])
    await fails(4, /another host key than before[\s\S]*visor ssh --new-key web/u, ...logIn, 'true')
    await succeed(['ssh', '--new-key', ...logIn.slice(1), 'true'])
    await succeed([...logIn, 'true'])
    const { uuid } = await domains.get('web')
    const known = join(visord.directories.state, 'known-hosts', uuid)
    assert.match(await readFile(known, 'utf8'), /ssh-ed25519/u)
    await succeed(['exec', 'web', '--', 'killall', 'dropbear'])
    await fails(8, /'web' takes no ssh: .*port 22/u, 'ssh', '-t', '1', 'root@web', '--', 'true')
    say('ssh asked nothing')
  } finally {
    for (const name of ['web', 'lone']) await domains.destroy(name).catch(() => {})
    await connection.networks.destroy('default', { force: true }).catch(() => {})
    await connection.close()
    await visord.dispose()
  }
}

/** Starts a guest and types at its prompt. */
async function boot({ domains }: CompleteConnection, name: string, typed: string): Promise<void> {
  await domains.start(name)
  const console = await domains.openConsole(name, { scrollback: true })
  let seen = ''
  let isTyped = false
  for await (const chunk of console) {
    seen += Buffer.from(chunk).toString('latin1')
    if (!isTyped && seen.includes(`${name}:~# `)) {
      await console.write(Buffer.from(`${typed}echo rea''dy\n`))
      isTyped = true
    }
    if (/^ready/mu.test(seen)) break
  }
  await console.close()
}

const say = (text: string) => process.stdout.write(`${text}\n`)

if (isOnTestHost()) {
  const [folder = '', kernel = ''] = process.argv.slice(3)
  await runOnTestHost(folder, kernel)
  process.exit(0)
} else
  test('programs are run, files copied and logins had, by agent and by ssh', {
    skip:
      process.arch !== 'x64'
        ? 'the agent is fetched for x86_64'
        : missingForTestHost([
            ...['ip', 'nft', 'dnsmasq', 'unshare', 'qemu-system-x86_64', 'apt-get'],
            ...['ssh', 'scp', 'ssh-keygen'],
          ]),
    timeout: 600_000,
  }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'visor-into-'))
    try {
      const image = await buildTestImage(folder)
      const id = join(folder, 'id')
      assert.equal((await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', id])).code, 0)
      const ssh = sshPackages(await readFile(`${id}.pub`))
      const micro = await readFile(image.initrd ?? '')
      const withSsh = await addPackages(micro, join(folder, 'scratch'), ssh)
      await writeFile(join(folder, 'ssh-initrd'), withSsh)
      const both = await addPackages(withSsh, join(folder, 'scratch-2'), agentPackages)
      await writeFile(join(folder, 'agent-initrd'), both)
      await onTestHost(import.meta.filename, folder, image.kernel ?? '')
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
