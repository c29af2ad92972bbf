import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { CompleteConnection } from '../../src/index.ts'
import type { DomainDefinitionInput } from '../../src/model/index.ts'
import { type Benchmark, timed } from '../harness.ts'
import { openLibrary } from '../ours/library.ts'
import { directoriesOf } from '../ours/visord.ts'
import { rawClone } from '../peers/raw-clone.ts'

const template = 'bench'
const bootName = 'visor, cold boot'
const cloneName = 'visor, live clone'
const poolName = 'visor, from the pool'
const rawName = 'raw QEMU, live clone without identity'
const rawToldName = 'raw QEMU, live clone told the same'

/**
 * From the call until the guest has answered: over the channel to the hook in it, where it is told who it is, as
 * clones have no other sign of life by themselves; a boot by the prompt on its serial port.
 */
export const clone: Benchmark = {
  id: 'clone',
  title: 'Live clone: call to an answering guest (micro guest, emulated, 256 MiB)',
  unit: 'ms',
  aims: [
    { ours: cloneName, peer: rawName, kind: 'at-most-times', value: 1.3 },
    { ours: cloneName, peer: rawToldName, kind: 'at-most-times', value: 1.3 },
    { ours: cloneName, peer: bootName, kind: 'faster-times', value: 15 },
    { ours: poolName, kind: 'at-most', value: 50 },
  ],
  async prepare(bench) {
    const library = await openLibrary(bench)
    const { domains, templates } = library
    const source = (await domains.define(await definition(library))).uuid
    bench.defer(async () => {
      await templates.setPool(template, { size: 0 }).catch(() => {})
      for (const { uuid, state } of await domains.list()) if (state !== 'shutoff') await domains.destroy(uuid)
    })
    await domains.start(source)
    await answer(library, source)
    await templates.create(template, { domain: source })
    const raw = await rawPeer()
    await domains.destroy(source)

    async function rawPeer() {
      const [{ uuid = '', pid = 0 } = {}] = await templates.clone(template)
      const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
      await remove(uuid)
      const { state, runtime } = directoriesOf(bench, 'library')
      const places = join(state, 'qemu', 'templates')
      const moved = args.map((arg) => arg.replaceAll(runtime, `${runtime}-raw`).replaceAll(uuid, 'raw'))
      for (const path of moved.flatMap((arg) => arg.split(/[=,:]/u)))
        if (path.startsWith('/') && /\.(?:sock|log)$/u.test(path))
          await mkdir(dirname(path), { recursive: true })
      const hook = moved.flatMap((arg) => /path=(.*channel0\.sock)/u.exec(arg)?.[1] ?? [])[0] ?? ''
      const options = { program, args: moved.map((arg) => (arg === 'raw' ? uuid : arg)), hook }
      return rawClone(bench, { ...options, state: join(places, readdirSync(places)[0] ?? '', 'state') })
    }

    async function remove(uuid: string): Promise<void> {
      await domains.destroy(uuid)
      await domains.undefine(uuid)
    }

    async function sampleClone(): Promise<number> {
      let uuid = ''
      const ms = await timed(async () => {
        uuid = (await templates.clone(template))[0]?.uuid ?? ''
      })
      await remove(uuid)
      return ms
    }

    return [
      {
        name: bootName,
        ours: true,
        async sample() {
          const ms = await timed(async () => {
            await domains.start(source)
            await answer(library, source)
          })
          await domains.destroy(source)
          return ms
        },
      },
      {
        name: rawName,
        ours: false,
        async sample() {
          const ms = await timed(() => raw.start())
          await raw.destroy()
          return ms
        },
      },
      {
        name: rawToldName,
        ours: false,
        async sample() {
          const lines = [
            `entropy ${randomBytes(32).toString('hex')}`,
            `machine-id ${randomBytes(16).toString('hex')}`,
            'hostname bench-1',
          ]
          const ms = await timed(() => raw.start(lines))
          await raw.destroy()
          return ms
        },
      },
      { name: cloneName, ours: true, sample: sampleClone },
      {
        name: poolName,
        ours: true,
        async sample() {
          await templates.setPool(template, { size: 1 })
          while ((await templates.get(template)).ready < 1)
            await new Promise((resolve) => setTimeout(resolve, 20))
          await templates.setPool(template, { size: 1 })
          const ms = await sampleClone()
          await templates.setPool(template, { size: 0 })
          return ms
        },
      },
    ]
  },
}

async function definition({ images }: CompleteConnection): Promise<DomainDefinitionInput> {
  const { kernel, initrd, commandLine } = await images.build('micro')
  return {
    type: 'qemu',
    name: 'bench',
    memoryKiB: 256 * 1024,
    os: { machine: 'pc', kernel, initrd, commandLine },
    devices: {
      interfaces: [{ type: 'user' }],
      serials: [{}],
      channels: [{ name: 'org.visor.guest.0' }],
    },
  } as DomainDefinitionInput
}

/** Presses Enter and waits for the prompt. */
async function answer({ domains }: CompleteConnection, uuid: string): Promise<void> {
  const console = await domains.openConsole(uuid)
  await console.write(Buffer.from('\n'))
  let said = ''
  for await (const bytes of console) {
    said += Buffer.from(bytes).toString('latin1')
    if (said.includes('# ')) break
  }
  await console.close()
}
