/** The real guest agent, QEMU's own, run in the micro guest: power-off, programs, files, file systems, clock. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { type DomainDefinitionInput, type Image, VisorError } from '../../src/model/index.ts'
import { buildTestImage } from '../../src/storage/testing/test-images.ts'
import { openDriver } from '../conformance/open-driver.ts'
import { addPackages, agentPackages, startAgent } from '../fixtures/guest-packages.ts'

const missing = (program: string) => spawnSync(program, ['--version']).error !== undefined
const skip =
  process.arch !== 'x64'
    ? 'the agent is fetched for x86_64'
    : missing('qemu-system-x86_64')
      ? 'qemu-system-x86_64 is not installed'
      : missing('apt-get') && 'there is no apt-get to fetch packages with'

describe('the guest agent', { skip }, () => {
  let directory = ''
  let image: Image
  let connection: CompleteConnection
  let domains: CompleteConnection['domains']

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-agent-'))
    image = await buildTestImage(directory)
    const initrd = join(directory, 'initrd')
    await writeFile(
      initrd,
      await addPackages(await readFile(image.initrd ?? ''), join(directory, 'scratch'), agentPackages),
    )
    image = { ...image, initrd }
    connection = await openDriver('qemu:///system', directory)
    domains = connection.domains
  })
  after(async () => {
    for (const { uuid, state } of await domains.list()) if (state !== 'shutoff') await domains.destroy(uuid)
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  /** Starts a guest and types at its prompt. */
  async function boot(
    name: string,
    typed: string,
    channels: object[],
    disks: object[] = [],
    interfaces: object[] = [],
  ): Promise<string> {
    const { uuid } = await domains.define(define(name, image, { channels, disks, interfaces }))
    await domains.start(uuid)
    const console = await domains.openConsole(uuid, { scrollback: true })
    let seen = ''
    let isTyped = false
    for await (const chunk of console) {
      seen += Buffer.from(chunk).toString('latin1')
      if (!isTyped && seen.includes(`${name}:/root# `)) {
        await console.write(Buffer.from(`${typed}echo rea''dy\n`))
        isTyped = true
      }
      if (/^ready/mu.test(seen)) break
    }
    await console.close()
    return uuid
  }

  async function isOff(uuid: string): Promise<void> {
    const ended = new AbortController()
    const events = connection.events({ signal: ended.signal })
    const off = (async () => {
      for await (const { uuid: about, type } of events) if (about === uuid && type === 'stopped') return
    })()
    if ((await domains.get(uuid)).state !== 'shutoff') await off
    ended.abort()
    assert.equal((await domains.get(uuid)).state, 'shutoff')
    assert.equal((await domains.get(uuid)).reason, 'shutdown')
  }

  const channels = [{ name: 'org.qemu.guest_agent.0' }]

  test('is asked to power off', async () => {
    const uuid = await boot('asked', startAgent, channels)
    await domains.shutdown(uuid, { mode: 'agent' })
    await isOff(uuid)
  })

  test('runs programs, and reads and writes files', async () => {
    const uuid = await boot('worker', startAgent, channels, [], [{ type: 'user' }])
    const { agent } = connection
    const text = (base64: string) => Buffer.from(base64, 'base64').toString()
    const ran = await agent.exec(uuid, {
      program: '/bin/sh',
      args: ['-c', 'cat; echo "$COLOUR" >&2; exit 3'],
      env: ['COLOUR=blue'],
      stdin: Buffer.from('handed in').toString('base64'),
    })
    assert.deepEqual(
      [ran.exitCode, text(ran.stdout), text(ran.stderr), ran.truncated],
      [3, 'handed in', 'blue\n', false],
    )
    const content = randomBytes(2_000_000)
    await agent.writeFile(uuid, { path: '/tmp/a file', content: content.toString('base64') })
    await agent.writeFile(uuid, {
      path: '/tmp/a file',
      content: Buffer.from('!').toString('base64'),
      append: true,
    })
    const back = await agent.readFile(uuid, { path: '/tmp/a file' })
    assert.ok(Buffer.concat([content, Buffer.from('!')]).equals(back))
    assert.equal((await agent.readFile(uuid, { path: '/tmp/a file', maxBytes: 1000 })).length, 1000)
    const part = await agent.readFile(uuid, { path: '/tmp/a file', maxBytes: 1000, offset: 1_999_500 })
    assert.ok(part.length === 501 && Buffer.from(part).equals(back.subarray(1_999_500)))
    await assert.rejects(agent.readFile(uuid, { path: '/nosuch' }), { code: 'failed', message: /nosuch/u })
    await assert.rejects(agent.exec(uuid, { program: '/nosuch' }), { code: 'failed' })
    await assert.rejects(agent.exec(uuid, { program: 'sleep', args: ['600'], timeoutMs: 100 }), {
      code: 'timeout',
      message: /goes on/u,
    })
    // While one waits for a program, others are answered.
    const slow = agent.exec(uuid, { program: 'sleep', args: ['2'] })
    const info = await agent.info(uuid)
    assert.equal(info.hostname, 'worker')
    assert.match(info.kernel ?? '', /^\d/u)
    assert.ok(info.commands.includes('guest-exec'))
    assert.equal((await slow).exitCode, 0)
    const loopback = (await agent.interfaces(uuid)).find(({ name }) => name === 'lo')
    assert.deepEqual(loopback?.addresses[0], { address: '127.0.0.1', family: 'ipv4', prefix: 8 })
    assert.deepEqual(await agent.users(uuid), [])
    await agent.setTime(uuid, { timeMs: Date.UTC(2031, 1, 3) })
    assert.equal(new Date((await agent.info(uuid)).timeMs ?? 0).getUTCFullYear(), 2031)
    await agent.setTime(uuid, {})
  })

  test('tells live clones who they are, also those of a pool', async () => {
    const { agent, templates } = connection
    assert.equal((await templates.create('gold', { domain: 'worker' })).identity, 'agent')
    assert.equal((await agent.info('worker')).hostname, 'worker')
    await templates.setPool('gold', { size: 1 })
    await until(async () => (await templates.get('gold')).ready === 1)
    const ask = async (uuid: string, command: string) => {
      const { stdout } = await agent.exec(uuid, {
        program: '/bin/sh',
        args: ['-c', command],
        timeoutMs: 60_000,
      })
      return Buffer.from(stdout, 'base64').toString().trim()
    }
    const names = ['copy-1', 'copy-2', 'copy-3']
    const clones = await templates.clone('gold', { count: 3, name: 'copy' })
    assert.deepEqual(
      clones.map(({ name }) => name),
      names,
    )
    const seen = new Set<string>()
    for (const { uuid, name } of clones) {
      const mac = (await domains.describe(uuid)).devices.interfaces[0]?.mac ?? 'none'
      assert.equal(await ask(uuid, 'hostname'), name)
      assert.match(await ask(uuid, 'cat /etc/hosts'), new RegExp(`localhost ${name}$`, 'mu'))
      assert.equal(await ask(uuid, 'cat /etc/machine-id'), uuid.replaceAll('-', ''))
      await until(async () => (await ask(uuid, 'cat /sys/class/net/eth0/address')) === mac)
      // Another than the template's: it was asked for by another card.
      await until(async () => (await ask(uuid, 'ip -4 address show eth0')).includes('10.0.2.16'))
      assert.ok(Math.abs(Number(await ask(uuid, 'date +%s')) - Date.now() / 1000) < 30)
      const random = await ask(uuid, 'cat /proc/sys/kernel/random/uuid')
      for (const text of [uuid, mac, random]) {
        assert.ok(!seen.has(text), text)
        seen.add(text)
      }
    }
    await templates.setPool('gold', { size: 0 })
  })

  test('freezes file systems, which thaw by themselves, also after the daemon was opened anew', async () => {
    const typed = `dd if=/dev/zero of=/disk bs=1M count=4 2>/dev/null; mke2fs /disk >/dev/null 2>&1
mkdir -p /mnt; mount -o loop /disk /mnt
echo '#!/bin/busybox sh' > /hook; echo 'echo $1 >> /run/hooked' >> /hook; chmod 755 /hook
${startAgent.replace('qemu-ga', 'qemu-ga -F/hook')}`
    const file = join(directory, 'still.raw')
    await writeFile(file, Buffer.alloc(2 ** 20))
    const uuid = await boot('still', typed, channels, [{ file, target: 'vda' }])
    const mounted = await connection.agent.filesystems(uuid)
    const frozen = await connection.agent.freeze(uuid, { timeoutMs: 60_000 })
    assert.equal(
      frozen > 0,
      mounted.some(({ mountPoint }) => mountPoint === '/mnt'),
    )
    // What is frozen only thaws: whatever else is asked of the agent is refused by it.
    if (frozen > 0)
      await assert.rejects(connection.agent.exec(uuid, { program: 'true' }), { code: /failed|unavailable/u })
    await connection.close()
    connection = await openDriver('qemu:///system', directory)
    domains = connection.domains
    await until(async () => (await connection.agent.exec(uuid, { program: 'true' })).exitCode === 0)
    assert.equal(await connection.agent.freeze(uuid, { timeoutMs: 200 }), frozen)
    await until(async () => (await connection.agent.exec(uuid, { program: 'true' })).exitCode === 0)
    assert.equal(await connection.agent.thaw(uuid), 0)
    // For a snapshot of the disks they are frozen, and thawed whatever becomes of it.
    const freezes = async () => {
      const log = (await connection.agent.readFile(uuid, { path: '/run/hooked' })).toString()
      return ['freeze', 'thaw'].map((word) => log.split(word).length)
    }
    const [frozenBefore = 0, thawedBefore = 0] = await freezes()
    await connection.snapshots.create(uuid, { name: 'quiet', diskOnly: true, quiesce: true })
    const [frozenOnce = 0, thawedOnce = 0] = await freezes()
    assert.ok(frozenOnce > frozenBefore && thawedOnce > thawedBefore)
    await assert.rejects(
      connection.snapshots.create(uuid, {
        diskOnly: true,
        quiesce: true,
        overlays: [{ disk: 'vda', file: '/nosuch/file' }],
      }),
      { code: 'failed' },
    )
    assert.equal((await connection.agent.exec(uuid, { program: 'true' })).exitCode, 0)
    assert.ok(((await freezes())[0] ?? 0) > frozenOnce)
    await domains.destroy(uuid)
  })

  test('powers off a guest that does not listen to its power button', async () => {
    const uuid = await boot('deaf', `killall acpid\n${startAgent}`, channels)
    // The agent was only just started: until it listens, the button alone is pressed, in vain.
    for (let tries = 0; tries < 60 && (await domains.get(uuid)).state !== 'shutoff'; tries++) {
      await domains.shutdown(uuid).catch((error: VisorError) => assert.equal(error.code, 'invalid-state'))
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    await isOff(uuid)
  })

  test('that does not run, or has no channel, is told so', async () => {
    const silent = await boot('silent', '', channels)
    const without = await boot('without', '', [])
    for (const uuid of [silent, without])
      await assert.rejects(domains.shutdown(uuid, { mode: 'agent' }), (error: VisorError) => {
        assert.ok(error instanceof VisorError)
        assert.match(error.code, /^(unavailable|invalid-state)$/u)
        assert.match(error.message, /agent/u)
        assert.ok(error.remedy)
        return true
      })
  })
})

/** Resolves when it holds; what fails meanwhile is tried again. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await holds().catch(() => false)) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.fail('It did not come to be within 30 s.')
}

function define(
  name: string,
  { kernel, initrd, commandLine }: Image,
  devices: Readonly<Record<'channels' | 'disks' | 'interfaces', object[]>>,
): DomainDefinitionInput {
  return {
    type: 'qemu',
    name,
    memoryKiB: 262144,
    os: { kernel, initrd, commandLine: `${commandLine} visor.hostname=${name}` },
    features: { acpi: true },
    devices: { serials: [{}], ...devices } as DomainDefinitionInput['devices'],
  }
}
