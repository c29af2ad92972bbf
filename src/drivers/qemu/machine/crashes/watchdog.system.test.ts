/** Guests that hang and guests that panic, by the devices that their definitions have for that. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, describe, test } from 'node:test'
import type { CompleteConnection } from '../../../../driver/index.ts'
import type { Domain, DomainDefinitionInput } from '../../../../model/index.ts'
import { findProgram } from '../../emulator/emulator.ts'
import { openTestDriver } from '../../testing/test-daemon.ts'
import { writeProbeDisk } from '../../testing/test-probe-guest.ts'

const skip = (await findProgram('qemu-system-x86_64')) ? false : 'qemu-system-x86_64 is not installed'

describe('watchdogs and panics', { skip }, () => {
  let directory = ''
  let connection: CompleteConnection
  let domains: CompleteConnection['domains']
  const heard: { uuid: string | undefined; what: string; message: string | undefined }[] = []
  const listening = new AbortController()
  let number = 0

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-watchdog-'))
    await writeProbeDisk(join(directory, 'disk.raw'))
    connection = await openTestDriver(directory)
    domains = connection.domains
    void listen()
  })
  afterEach(async () => {
    for (const { uuid, state } of await domains.list()) if (state !== 'shutoff') await domains.destroy(uuid)
  })
  after(async () => {
    listening.abort()
    await connection.close()
    await rm(directory, { recursive: true, force: true })
  })

  async function listen(): Promise<void> {
    for await (const { type, reason, uuid, message } of connection.events({ signal: listening.signal }))
      heard.push({ uuid, what: `${type} ${reason ?? ''}`.trim(), message })
  }

  type Devices = NonNullable<DomainDefinitionInput['devices']>
  type Console = Awaited<ReturnType<typeof openConsole>>

  async function openConsole(uuid: string) {
    const stream = await domains.openConsole(uuid, { scrollback: true })
    let said = ''
    void (async () => {
      for await (const bytes of stream) said += Buffer.from(bytes).toString('latin1')
    })()
    return {
      type: (typed: string) => stream.write(Buffer.from(typed)),
      /** Waits until it has said so much since it was started. */
      says: (pattern: RegExp) =>
        until(
          () => pattern.test(said),
          () => JSON.stringify(said),
        ),
      close: () => stream.close(),
    }
  }

  async function until(
    fits: () => boolean | Promise<boolean>,
    sight: () => unknown = () => '',
  ): Promise<void> {
    const deadline = performance.now() + 60_000
    while (!(await fits())) {
      assert.ok(performance.now() < deadline, String(sight()))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  async function inGuest(
    devices: Devices,
    onCrash: DomainDefinitionInput['onCrash'],
    look: (guest: {
      uuid: string
      console: Console
      becomes(fits: (domain: Domain) => boolean): Promise<Domain>
    }) => Promise<void>,
  ): Promise<void> {
    const { uuid } = await domains.define({
      type: 'qemu',
      name: `guest-${++number}`,
      memoryKiB: 32 * 1024,
      os: { machine: 'pc' },
      ...(onCrash === undefined ? {} : { onCrash }),
      devices: {
        disks: [{ file: join(directory, 'disk.raw'), target: 'vda', readonly: true }],
        serials: [{}],
        ...devices,
      },
    })
    await domains.start(uuid)
    const console = await openConsole(uuid)
    await console.says(/ready\n/u)
    const becomes = async (fits: (domain: Domain) => boolean) => {
      let seen: Domain | undefined
      const looks = async () => {
        seen = await domains.get(uuid)
        return fits(seen)
      }
      await until(looks, () => JSON.stringify(seen))
      return seen ?? domains.get(uuid)
    }
    await look({ uuid, console, becomes })
    await console.close()
    await domains.destroy(uuid).catch(() => {})
    await domains.undefine(uuid)
  }

  const tells = (uuid: string, what: RegExp) =>
    until(
      () => heard.some((one) => one.uuid === uuid && what.test(one.what)),
      () => JSON.stringify(heard.filter((one) => one.uuid === uuid)),
    )
  const dumps = async () =>
    (await readdir(join(directory, 'state'), { recursive: true })).filter((name) => name.endsWith('.core'))

  for (const [model, key] of [
    ['ib700', '7'],
    ['i6300esb', '6'],
  ] as const) {
    const watched = (action: NonNullable<Devices['watchdogs']>[number]['action']) => ({
      watchdogs: [{ model, action }],
    })

    test(`${model}: reset lets it begin anew`, () =>
      inGuest(watched('reset'), undefined, async ({ uuid, console, becomes }) => {
        await console.type(key)
        await console.says(/ready\n(?:.*\n)?ready\n/u)
        await tells(uuid, /^watchdog reset$/u)
        assert.equal((await becomes(({ state }) => state === 'running')).state, 'running')
      }))

    test(`${model}: poweroff ends it`, () =>
      inGuest(watched('poweroff'), undefined, async ({ uuid, console, becomes }) => {
        await console.type(key)
        await tells(uuid, /^watchdog poweroff$/u)
        await becomes(({ state }) => state === 'shutoff')
      }))

    test(`${model}: pause keeps it, and says why`, () =>
      inGuest(watched('pause'), undefined, async ({ uuid, console, becomes }) => {
        await console.type(key)
        const { reason, message } = await becomes(({ state }) => state === 'paused')
        assert.equal(reason, 'watchdog')
        assert.match(message ?? '', /watchdog/u)
        await tells(uuid, /^suspended watchdog$/u)
        await domains.resume(uuid)
        await console.type('z')
        await console.says(/:z/u)
      }))

    test(`${model}: none and inject-nmi let it go on`, async () => {
      await inGuest(watched('none'), undefined, async ({ uuid, console }) => {
        await console.type(key)
        await tells(uuid, /^watchdog none$/u)
        await console.type('z')
        await console.says(/:z/u)
        assert.equal((await domains.get(uuid)).state, 'running')
      })
      await inGuest(watched('inject-nmi'), undefined, async ({ uuid, console }) => {
        await console.type(key)
        await console.says(/N/u)
        await tells(uuid, /^watchdog inject-nmi$/u)
        assert.equal((await domains.get(uuid)).state, 'running')
      })
    })

    test(`${model}: dump writes its memory, and it goes on`, () =>
      inGuest(watched('dump'), undefined, async ({ console, becomes }) => {
        const before = (await dumps()).length
        await console.type(key)
        await until(async () => (await dumps()).length > before)
        await becomes(({ state }) => state === 'running')
        await console.type('z')
        await console.says(/:z/u)
      }))
  }

  for (const [model, key] of [
    ['isa', 'x'],
    ['pvpanic', 'q'],
  ] as const)
    test(`${model}: a panic does what the definition says`, async () => {
      const devices = { panics: [{ model }] }
      await inGuest(devices, 'preserve', async ({ uuid, console, becomes }) => {
        await console.type(key)
        const { reason, message } = await becomes(({ state }) => state === 'crashed')
        assert.equal(reason, 'crashed')
        assert.match(message ?? '', /panicked/u)
        await tells(uuid, /^crashed panicked$/u)
      })
      await inGuest(devices, 'restart', async ({ console, becomes }) => {
        await console.type(key)
        await console.says(/ready\n(?:.*\n)?ready\n/u)
        await becomes(({ state }) => state === 'running')
      })
      for (const onCrash of ['destroy', 'coredump-destroy'] as const)
        await inGuest(devices, onCrash, async ({ console, becomes }) => {
          const before = (await dumps()).length
          await console.type(key)
          assert.equal((await becomes(({ state }) => state === 'shutoff')).reason, 'crashed')
          assert.equal((await dumps()).length, before + (onCrash === 'destroy' ? 0 : 1))
        })
    })
})
