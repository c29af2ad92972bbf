/** What a machine does when its guest powers off or reboots, with a visord and without. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../driver/index.ts'
import { runChecked } from '../../../host/index.ts'
import type { Domain, DomainDefinitionInput } from '../../../model/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { bootDisk } from '../emulator/kvm.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../testing/test-guest.ts'

const noMount = process.getuid?.() === 0 ? false : 'only root can mount a small file system'

/** Says `w`, writes a sector that the disk has no room for yet, and says `d` when it is written. */
const writer = Buffer.from('baf803b077ee31c08ec0bb007cb80103b91100ba8000cd13baf803b064eef4ebfd', 'hex')

const skip = (await findProgram('qemu-system-x86_64')) ? false : 'qemu-system-x86_64 is not installed'

describe('policies', { skip }, () => {
  let directory = ''
  let disk = ''
  let connection: CompleteConnection
  let domains: CompleteConnection['domains']

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-policies-'))
    disk = join(directory, 'disk.raw')
    await writeTestDisk(disk)
    await open()
  })
  afterEach(async () => {
    for (const { uuid, state } of await domains.list()) if (state !== 'shutoff') await domains.destroy(uuid)
  })
  after(async () => {
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  async function open(): Promise<void> {
    connection = await openTestDriver(directory)
    domains = connection.domains
  }

  async function started(name: string, more: Partial<DomainDefinitionInput>): Promise<string> {
    const { uuid } = await domains.define({ ...testDefinition(name, disk), ...more })
    await domains.start(uuid)
    await say(uuid, '', 'ready')
    return uuid
  }

  /** Types, and waits until the console has said so much. */
  async function say(uuid: string, typed: string, wanted: string): Promise<void> {
    const console = await domains.openConsole(uuid, { scrollback: true })
    if (typed !== '') await console.write(Buffer.from(typed))
    let said = ''
    for await (const bytes of console) {
      said += Buffer.from(bytes).toString('latin1')
      if (said.includes(wanted)) break
    }
    await console.close()
    assert.ok(said.includes(wanted), `${JSON.stringify(said)} has no ${JSON.stringify(wanted)}`)
  }

  async function type(uuid: string, typed: string): Promise<void> {
    const console = await domains.openConsole(uuid)
    await console.write(Buffer.from(typed))
    await console.close()
  }

  async function until(uuid: string, fits: (domain: Domain) => boolean): Promise<Domain> {
    const deadline = performance.now() + 60_000
    for (;;) {
      const domain = await domains.get(uuid)
      if (fits(domain)) return domain
      assert.ok(performance.now() < deadline, JSON.stringify(domain))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  const isOff = ({ state }: Domain) => state === 'shutoff'

  test('a power-off restarts it, in the same process, as often as it comes', async () => {
    const uuid = await started('again', { onPoweroff: 'restart' })
    const { pid } = await domains.get(uuid)
    await type(uuid, 'p')
    await say(uuid, '', 'ready\nready')
    await type(uuid, 'p')
    await say(uuid, '', 'ready\nready\nready')
    const { state, pid: now } = await until(uuid, (domain) => domain.state === 'running')
    assert.deepEqual([state, now], ['running', pid])
    // The machine that was asked by its button too.
    await domains.shutdown(uuid)
    await say(uuid, '', 'ready\nready\nready\nready')
  })

  test('a power-off preserves it, and a reset brings it back', async () => {
    const uuid = await started('kept', { onPoweroff: 'preserve' })
    await type(uuid, 'p')
    await until(uuid, ({ state }) => state === 'shutdown')
    await assert.rejects(domains.resume(uuid), { code: 'invalid-state' })
    await domains.reset(uuid)
    await say(uuid, '', 'ready\nready')
    assert.equal((await domains.get(uuid)).state, 'running')
  })

  test('a reset goes on, ends it or keeps it, as it says', async () => {
    const ended = await started('ended', { onReboot: 'destroy' })
    await type(ended, 'r')
    assert.equal((await until(ended, isOff)).reason, 'shutdown')
    const kept = await started('reset-kept', { onReboot: 'preserve' })
    await type(kept, 'r')
    await until(kept, ({ state }) => state === 'shutdown')
    await domains.destroy(kept)
    const both = await started('both', { onReboot: 'preserve', onPoweroff: 'destroy' })
    await type(both, 'p')
    assert.equal((await until(both, isOff)).reason, 'shutdown')
    const other = await started('other', { onReboot: 'destroy', onPoweroff: 'restart' })
    await type(other, 'p')
    await say(other, '', 'ready\nready')
    // For a moment after that its resets are taken for those of its firmware.
    const typing = setInterval(() => void type(other, 'r').catch(() => {}), 1_000)
    try {
      assert.equal((await until(other, isOff)).reason, 'shutdown')
    } finally {
      clearInterval(typing)
    }
  })

  test('a full disk pauses it and is named; with room again, it goes on', { skip: noMount }, async () => {
    const small = join(directory, 'small')
    await mkdir(small)
    await runChecked('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', small])
    try {
      const file = join(small, 'full, disk.raw')
      await writeFile(file, bootDisk(writer.toString('base64')).subarray(0, 512))
      await truncate(file, 2 ** 20)
      const filler = join(small, 'filler')
      await writeFile(filler, Buffer.alloc(2 ** 17)).catch(() => {})
      const { uuid } = await domains.define({
        ...testDefinition('full', file),
        devices: { disks: [{ file, target: 'vda' }], serials: [{}] },
      })
      await domains.start(uuid)
      const isPaused = ({ state, reason, message }: Domain) =>
        state === 'paused' && reason === 'io-error' && message !== undefined
      const { message } = await until(uuid, isPaused)
      assert.match(message ?? '', /disk 'vda' \(.*full, disk\.raw\) failed to write: No space left/u)
      await connection.close()
      await open()
      const found = await until(uuid, isPaused)
      assert.match(found.message ?? '', /disk 'vda'.*no space left/u)
      await rm(filler)
      await domains.resume(uuid)
      await say(uuid, '', 'd')
      assert.equal((await domains.get(uuid)).state, 'running')
      await domains.destroy(uuid)
    } finally {
      await runChecked('umount', ['--lazy', small])
    }
  })

  test('what happened while no visord ran is settled by the next one', async () => {
    const again = await started('found-again', { onPoweroff: 'restart' })
    const kept = await started('found-kept', { onPoweroff: 'preserve' })
    const ended = await started('found-ended', { onPoweroff: 'destroy', onReboot: 'preserve' })
    const { pid } = await domains.get(again)
    // Typed with nobody there to see what comes of it.
    const consoles = await Promise.all([again, kept, ended].map((uuid) => domains.openConsole(uuid)))
    await Promise.all([...consoles.map((console) => console.write(Buffer.from('p'))), connection.close()])
    await open()
    await say(again, '', 'ready\nready')
    assert.equal((await domains.get(again)).pid, pid)
    await until(kept, ({ state }) => state === 'shutdown')
    await until(ended, ({ state }) => state === 'shutoff' || state === 'shutdown')
  })
})
