/** Names and paths that mean something to QEMU's options, to JSON or to a shell: a real QEMU opens them all. */
import assert from 'node:assert/strict'
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { DomainDefinitionInput } from '../../../model/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { qmpClient } from '../qmp/index.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { testDefinition, writeTestDisk } from '../testing/test-guest.ts'

const skip = (await findProgram('qemu-system-x86_64')) ? false : 'QEMU is not here: install qemu-system-x86'
const options = { skip, timeout: 300_000 }

/** Each is the name of a domain, and of a folder with all its files in it. */
const words: Readonly<Record<string, string>> = {
  commas: 'a,b,,c,',
  'spaces around and in it': ' a  b ',
  'an equals sign as of an option': 'id=x,readonly=on',
  'quotes and backslashes': `'a' "b" \\n \\`,
  'a leading dash': '-device',
  braces: '{"driver":"null-co"}',
  'a colon as of a protocol': 'nbd:unix:x',
  'percent signs and dollars': '%s%n $HOME $(id) `id` ;&|<>*?',
  'letters of the world': 'größe-磁盘-🙂-e\u0301',
}

let directory: string
let connection: Awaited<ReturnType<typeof openTestDriver>>
before(async () => {
  // Sockets have 107 bytes for their path.
  directory = await mkdtemp(join(tmpdir(), 'vp-'))
  connection = await openTestDriver(directory)
})
after(async () => {
  await connection.close()
  await rm(directory, { recursive: true, force: true })
})

/** As much of a kernel as QEMU looks at (Documentation/arch/x86/boot.rst): it may have a RAM disk. */
function kernel(): Buffer {
  const image = Buffer.alloc(16_384)
  image.writeUInt8(1, 0x1f1)
  image.write('HdrS', 0x202, 'latin1')
  image.writeUInt16LE(0x206, 0x206)
  image.writeUInt32LE(0x3fff_ffff, 0x22c)
  return image
}

async function filesIn(folder: string) {
  const file = (name: string) => join(folder, name)
  await mkdir(file('shared'), { recursive: true })
  await writeTestDisk(file('disk.raw'))
  for (const copy of ['cd.iso', 'late.raw', 'other.iso']) await copyFile(file('disk.raw'), file(copy))
  await writeFile(file('kernel'), kernel())
  for (const chip of ['firmware', 'variables']) await writeFile(file(chip), Buffer.alloc(2 ** 18))
  await writeFile(file('text'), 'hello')
  return file
}

function withPaths(name: string, file: (name: string) => string): DomainDefinitionInput {
  return {
    ...testDefinition(name, file('disk.raw'), {
      disks: [
        { file: file('disk.raw'), target: 'vda', readonly: true },
        { file: file('cd.iso'), target: 'sda', device: 'cdrom', bus: 'sata' },
      ],
      controllers: [{ type: 'usb', model: 'qemu-xhci' }],
      serials: [{ type: 'unix', mode: 'bind', path: file('s'), logFile: file('log') }],
      graphics: [{ type: 'vnc', socket: file('v') }],
      filesystems: [{ source: file('shared'), target: 'tag, a=b', accessMode: 'mapped' }],
    }),
    title: name,
    os: {
      kernel: file('kernel'),
      initrd: file('text'),
      commandLine: `a=${name} -append`,
      loader: file('firmware'),
      loaderType: 'pflash',
      nvram: file('nvram.qcow2'),
      nvramTemplate: file('variables'),
    },
    sysinfo: [
      { type: 'fwcfg', files: [{ name: 'opt/visor/text', file: file('text') }] },
      { type: 'smbios', system: [{ name: 'product', value: name }] },
    ],
  }
}

for (const [what, word] of Object.entries(words))
  test(`a domain and its files have names with ${what}`, options, async () => {
    const { domains } = connection
    const file = await filesIn(join(directory, word))
    const { uuid } = await domains.define(withPaths(word, file))
    try {
      await domains.start(uuid)
      assert.equal((await domains.get(word)).state, 'running')
      const monitor = qmpClient(
        createConnection(join(directory, 'run', 'qemu', uuid, 'io', 'monitor.sock')),
        { name: word },
      )
      try {
        assert.deepEqual(await monitor.execute('query-name'), { name: word })
        const opened = async () => JSON.stringify(await monitor.execute('query-block'))
        assert.ok((await opened()).includes(JSON.stringify(file('disk.raw')).slice(1, -1)))
        const late = { file: file('late.raw'), target: 'sdb', bus: 'usb' as const }
        const medium = { file: file('other.iso'), target: 'sda', device: 'cdrom', bus: 'sata' } as const
        await domains.attachDevice?.(uuid, { device: { disks: [late] } })
        await domains.updateDevice?.(uuid, { device: { disks: [medium] } })
        for (const name of ['late.raw', 'other.iso'])
          assert.ok((await opened()).includes(JSON.stringify(file(name)).slice(1, -1)), name)
      } finally {
        monitor.close()
      }
    } finally {
      await domains.destroy(uuid).catch(() => {})
      await domains.undefine(uuid)
    }
  })

/** What is too long, and what it is told by. */
const tooLong: readonly (readonly [string, Partial<DomainDefinitionInput>, RegExp])[] = [
  ['a name of 10,000 letters', { name: 'n'.repeat(10_000) }, /name: must have at most 255 characters/u],
  [
    'a path of 10,000 letters',
    { devices: { disks: [{ file: `/${'p'.repeat(9999)}`, target: 'vda' }] } },
    /file: must have at most 4095 characters/u,
  ],
  [
    'a file name that no file system takes',
    { devices: { disks: [{ file: `/${'p'.repeat(300)}`, target: 'vda' }] } },
    /path of the disk image is too long/u,
  ],
  [
    'a path that is too long for a socket',
    { devices: { serials: [{ type: 'unix', mode: 'bind', path: `/tmp/${'s'.repeat(200)}` }] } },
    /serials\[0\]\.path: .* at most 107 bytes/u,
  ],
  [
    'a path that is too long for the socket of a screen',
    { devices: { graphics: [{ type: 'vnc', socket: `/tmp/${'s'.repeat(200)}` }] } },
    /graphics\[0\]\.socket: .* at most 107 bytes/u,
  ],
  [
    'a kernel of 10,000 letters',
    { os: { kernel: `/${'k'.repeat(9999)}` } },
    /kernel: must have at most 4095/u,
  ],
]

for (const [what, part, message] of tooLong)
  test(`${what} is refused before anything starts`, options, async () => {
    const { domains } = connection
    const run = async () => {
      const { uuid } = await domains.define({ ...testDefinition('long', '/nowhere'), ...part })
      await domains.start(uuid).finally(async () => {
        await domains.destroy(uuid).catch(() => {})
        await domains.undefine(uuid)
      })
    }
    await assert.rejects(run(), (error: Error) => {
      assert.match(error.message, message)
      assert.doesNotMatch(error.message, /QEMU ended/u)
      return true
    })
  })
