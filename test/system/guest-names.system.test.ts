/** Names of guests as a user has them: the resolver of the host, the command, and what the doctor says of it. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Diagnosis } from '../../src/doctor/index.ts'
import { writeBootSector } from '../fixtures/boot-sector.ts'
import { missing } from '../fixtures/machines.ts'
import { inside, isOnTestHost, missingForTestHost, onTestHost, setUpTestHost } from '../fixtures/test-host.ts'
import { visorCommand } from '../fixtures/visor-command.ts'
import { startVisord } from '../fixtures/visord.ts'

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const folder = await mkdtemp(join(tmpdir(), 'visor-guest-names-'))
  const put = async (path: string, text: string) => {
    const own = join(folder, path.replaceAll('/', '_'))
    await writeFile(own, text)
    execFileSync('mount', ['--bind', own, path])
  }
  await put('/etc/nsswitch.conf', 'hosts: files dns\n')
  await put('/etc/resolv.conf', '# nobody\n')
  const visord = await startVisord({ drivers: ['qemu'], names: '127.0.0.83' })
  const visor = visorCommand(visord.directories)
  const doctorSays = async () => {
    const { stdout } = await visor(['doctor', '--json'])
    const { groups }: Diagnosis = JSON.parse(stdout)
    const found = groups.flatMap(({ checks }) => checks).find(({ id }) => id === 'guest-names')
    return `${found?.status}: ${found?.detail} ${found?.remedy ?? ''}`
  }
  const connection = await visord.connect()
  const { domains } = connection
  try {
    assert.match(
      await doctorSays(),
      /^info: .*resolver of this host does not ask there.*nameserver 127\.0\.0\.83/u,
    )
    // As the documentation says it.
    await writeFile('/etc/resolv.conf', 'nameserver 127.0.0.83\n')
    assert.match(
      await doctorSays(),
      /^pass: Answered at 127\.0\.0\.83, and the resolver of this host asks there/u,
    )

    const { uuid } = await domains.define({
      ...{ type: 'qemu', name: 'web', memoryKiB: 65_536 },
      devices: {
        disks: [{ file: await writeBootSector(join(folder, 'disk')), format: 'raw', target: 'sda' }],
        interfaces: [{ type: 'network', network: 'default', model: 'virtio' }],
      },
    })
    await domains.start(uuid)
    assert.match(
      inside('host', 'getent', 'hosts', 'web.default.visor'),
      /^192\.168\.122\.2 +web\.default\.visor\n$/u,
    )
    const found = await visor(['network', 'resolve', 'web'])
    assert.match(found.stdout, /web\.default\.visor +192\.168\.122\.2 +default +web/u, found.stderr)
    assert.equal((await visor(['network', 'resolve', 'web.default.visor', '-q'])).stdout, '192.168.122.2\n')
    assert.equal((await visor(['network', 'resolve', '192.168.122.2', '-q'])).stdout, 'web.default.visor\n')
    const unknown = await visor(['network', 'resolve', 'wbe'])
    assert.notEqual(unknown.code, 0)
    assert.match(unknown.stderr, /has the name 'wbe'.*\n.*Did you mean 'web'\?/u)

    // Who comes after a crash answers at once; a guest that is gone has no name.
    await visord.kill()
    await visord.start()
    assert.match(inside('host', 'getent', 'hosts', '192.168.122.2'), /web\.default\.visor/u)
    const again = await visord.connect()
    await again.domains.destroy(uuid)
    assert.throws(() => inside('host', 'getent', 'hosts', 'web.default.visor'), { status: 2 })
    const gone = await visor(['network', 'resolve', 'web'])
    assert.match(gone.stderr, /'web' is not on network 'default' now.*\n.*visor start web/u)
    await again.domains.undefine(uuid)
    await again.networks.destroy('default')
  } finally {
    await visord.dispose()
    await rm(folder, { recursive: true, force: true })
  }
}

const skip = missingForTestHost(['unshare', 'ip', 'nft', 'dnsmasq', 'mount', 'getent']) || missing('qemu')

if (isOnTestHost()) {
  await runOnTestHost()
  process.exit(0)
} else
  test('programs, people and the doctor are told of guests by name', { skip, timeout: 600_000 }, () =>
    onTestHost(import.meta.filename),
  )
