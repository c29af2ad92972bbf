/** What is special about the embedded machine, with real ones. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { CompleteConnection } from '../../src/driver/index.ts'
import type { DomainDefinitionInput } from '../../src/model/index.ts'
import { buildTestImage } from '../../src/storage/testing/test-images.ts'
import { until, Viewer } from '../conformance/bench.ts'
import { openDriver } from '../conformance/open-driver.ts'
import { greeting, writeBootSector } from '../fixtures/boot-sector.ts'
import { bootSectorMachines, missing } from '../fixtures/machines.ts'

const skip = missing('v86')
const noApt = spawnSync('apt-get', ['--version']).error && 'there is no apt-get to fetch a kernel with'
const uri = 'v86:///session'
/** The prompt of the micro guest, and the question of its line editor for the place of the cursor. */
const prompt = '# \u001b[6n'
let directory = ''

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'visor-v86-'))
})
after(() => rm(directory, { recursive: true, force: true }))

async function withDriver(use: (connection: CompleteConnection) => Promise<void>): Promise<void> {
  const connection = await openDriver(uri, directory)
  try {
    await use(connection)
  } finally {
    for (const { uuid, state } of await connection.domains.list()) {
      if (state !== 'shutoff') await connection.domains.destroy(uuid)
      await connection.domains.undefine(uuid, { savedState: true })
    }
    await connection.close()
  }
}

async function bootSectorGuest(name: string): Promise<DomainDefinitionInput> {
  return bootSectorMachines.v86(name, await writeBootSector(join(directory, 'boot.raw')))
}

test('a guest goes on when who opened the driver is killed, and is found again', { skip }, async () => {
  const definition = await bootSectorGuest('orphan')
  const program = `
    import { openDriver } from ${JSON.stringify(join(import.meta.dirname, '../conformance/open-driver.ts'))}
    const { domains } = await openDriver(${JSON.stringify(uri)}, ${JSON.stringify(directory)})
    const { uuid } = await domains.define(${JSON.stringify(definition)})
    await domains.start(uuid)
    const { pid } = await domains.get(uuid)
    console.log(pid)
    setInterval(() => {}, 1000)`
  const opener = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [printed] = (await once(opener.stdout, 'data')) as [Buffer]
  opener.kill('SIGKILL')
  await once(opener, 'exit')
  await withDriver(async ({ domains }) => {
    const found = await domains.get('orphan')
    assert.deepEqual(
      [found.state, found.reason, found.pid],
      ['running', 'adopted', Number(printed.toString())],
    )
    const viewer = new Viewer(await domains.openConsole(found.uuid, { scrollback: true }))
    await viewer.untilPrinted(greeting)
    await viewer.type('still here')
    await viewer.untilPrinted('still here')
    await viewer.close()
  })
})

test(
  'a guest is left alone by who has another state directory but the same runtime directory',
  { skip },
  () =>
    withDriver(async ({ domains }) => {
      const { uuid } = await domains.define(await bootSectorGuest('not-yours'))
      await domains.start(uuid)
      const viewer = new Viewer(await domains.openConsole(uuid, { scrollback: true }))
      await viewer.untilPrinted(greeting)
      const stranger = await openDriver(uri, join(directory, 'stranger'), directory)
      assert.deepEqual(await stranger.domains.list(), [])
      await stranger.close()
      await viewer.type('still here')
      await viewer.untilPrinted('still here')
      await viewer.close()
      assert.ok(Buffer.from(await domains.consoleLog(uuid)).includes(greeting))
    }),
)

test('a guest in an endless loop is still ruled', { skip }, () =>
  withDriver(async ({ domains }) => {
    const definition = await bootSectorGuest('runaway')
    const file = definition.devices?.disks?.[0]?.file ?? ''
    const disk = await open(file, 'r+')
    // cli; jmp to itself: neither an interrupt nor an end.
    await disk.write(Buffer.from([0xfa, 0xeb, 0xfe]), 0, 3, 0)
    await disk.close()
    const { uuid } = await domains.define(definition)
    await domains.start(uuid)
    await until('the boot', async () => (await domains.screenText(uuid)).includes('Booting') || undefined)
    await domains.suspend(uuid)
    assert.equal((await domains.get(uuid)).state, 'paused')
    await domains.resume(uuid)
    await domains.destroy(uuid)
    assert.equal((await domains.get(uuid)).state, 'shutoff')
  }),
)

test('what v86 cannot boot is refused before anything runs', { skip }, () =>
  withDriver(async ({ domains }) => {
    const kernel = join(directory, 'kernel')
    const { uuid } = await domains.define({ type: 'v86', name: 'wrong', memoryKiB: 131_072, os: { kernel } })
    await assert.rejects(domains.start(uuid), { code: 'failed', message: /cannot be read/u })
    await writeFile(kernel, 'this is no kernel')
    await assert.rejects(domains.start(uuid), { code: 'failed', message: /no Linux kernel/u })
    const wide = Buffer.alloc(4096)
    wide.write('HdrS', 0x202)
    wide.writeUInt16LE(0x020f, 0x206)
    wide.writeUInt16LE(1, 0x236)
    await writeFile(kernel, wide)
    await assert.rejects(domains.start(uuid), { code: 'failed', message: /64-bit kernel/u, remedy: /i686/u })
    assert.equal((await domains.get(uuid)).state, 'shutoff')
  }),
)

test('two guests cannot write one disk', { skip }, () =>
  withDriver(async ({ domains }) => {
    const definition = await bootSectorGuest('owner')
    const [owner, thief] = [
      await domains.define(definition),
      await domains.define({ ...definition, name: 'thief' }),
    ]
    await domains.start(owner.uuid)
    await assert.rejects(domains.start(thief.uuid), {
      code: 'invalid-state',
      message: /'owner' runs with it/u,
    })
  }),
)

test(
  'Linux boots, writes its disk, is saved and restored, and follows its power button',
  { skip: skip || noApt },
  () =>
    withDriver(async ({ domains }) => {
      const { kernel, initrd, commandLine } = await buildTestImage(directory, 'i686')
      const disk = join(directory, 'data.raw')
      await writeFile(disk, Buffer.alloc(2 ** 20))
      const { uuid } = await domains.define({
        type: 'v86',
        name: 'linux',
        memoryKiB: 131_072,
        os: { arch: 'i686', kernel, initrd, commandLine },
        features: { acpi: true },
        devices: { disks: [{ file: disk, target: 'hda', bus: 'ide' }], serials: [{}] },
      })
      await domains.start(uuid)
      const viewer = new Viewer(await domains.openConsole(uuid, { scrollback: true }))
      await untilPrinted(viewer, prompt, 1)
      await viewer.type('name=value; echo written by the guest >/dev/sda; sync\n')
      await untilPrinted(viewer, prompt, 2)
      assert.ok((await readFile(disk)).includes('written by the guest'))

      await domains.save(uuid)
      await viewer.ended
      await domains.start(uuid)
      const again = new Viewer(await domains.openConsole(uuid))
      await again.type('echo $name; dmesg | grep -c lockup\n')
      await untilPrinted(again, prompt, 1)
      assert.match(again.text, /^value\r\n0\r$/mu)

      await domains.shutdown(uuid)
      await until(
        'the end of the guest',
        async () => (await domains.get(uuid)).state === 'shutoff' || undefined,
      )
      assert.equal((await domains.get(uuid)).reason, 'shutdown')
    }),
)

/** Waits until a text was printed so often: an emulated Linux on a busy host takes its time to boot. */
async function untilPrinted(viewer: Viewer, text: string, times: number): Promise<void> {
  const deadline = performance.now() + 300_000
  while (viewer.text.split(text).length <= times) {
    assert.ok(
      performance.now() < deadline,
      `Waited in vain for ${JSON.stringify(text)} after: ${viewer.text}`,
    )
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
