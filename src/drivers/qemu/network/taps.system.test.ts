/** Network cards on bridges of the host: a host of its own, in a network namespace that ends with it. */
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../testing/test-guest.ts'

async function inside(): Promise<void> {
  // Of the namespace, not of the host.
  execFileSync('mount', ['-t', 'sysfs', 'none', '/sys'])
  execFileSync('ip', ['link', 'add', 'br0', 'type', 'bridge'])
  execFileSync('ip', ['link', 'set', 'br0', 'up'])
  const directory = await mkdtemp(join(tmpdir(), 'visor-taps-'))
  await writeTestDisk(join(directory, 'disk.raw'))
  const { domains, close } = await openTestDriver(directory)
  const ports = () => readdir('/sys/class/net/br0/brif')
  const define = (name: string, bridge: string) =>
    domains.define(
      testDefinition(name, join(directory, 'disk.raw'), {
        interfaces: [
          { type: 'bridge', bridge, queues: 2 },
          { type: 'user' },
          { type: 'bridge', bridge, target: 'mine', model: 'e1000e', mtu: undefined },
          { type: 'ethernet', target: 'alone' },
        ],
      }),
    )
  try {
    const { uuid } = await define('bridged', 'br0')
    await domains.start(uuid)
    assert.deepEqual((await ports()).sort(), ['mine', 'vnet0'])
    assert.ok((await readdir('/sys/class/net')).includes('alone'))
    // Nothing of ours is needed for its end: the links go with the process.
    const { pid } = await domains.get(uuid)
    assert.ok(pid)
    await domains.save(uuid)
    assert.deepEqual(await ports(), [])
    await domains.start(uuid)
    assert.deepEqual((await ports()).sort(), ['mine', 'vnet0'])
    await domains.destroy(uuid)
    assert.deepEqual(await ports(), [])
    const other = await define('nowhere', 'br7')
    await assert.rejects(domains.start(other.uuid), { code: 'not-found', message: /no bridge 'br7'/u })
    assert.ok(!(await readdir('/sys/class/net')).includes('alone'))
  } finally {
    await close()
    await rm(directory, { recursive: true, force: true })
  }
}

if (process.argv[2] === 'inside') await inside()
else {
  const missing =
    process.getuid?.() !== 0
      ? 'a network namespace needs root'
      : (await findProgram('qemu-system-x86_64')) && (await findProgram('ip'))
        ? false
        : 'QEMU or ip is not here: install qemu-system-x86, iproute2'
  test('cards are on the bridge while their guest runs, and nothing stays', {
    skip: missing,
    timeout: 120_000,
  }, async () => {
    await promisify(execFile)('unshare', [
      ...['--net', '--mount', '--propagation', 'private'],
      ...[process.execPath, import.meta.filename, 'inside'],
    ])
  })
}
