/**
 * Network cards of a real guest: a host of its own, in a network namespace that ends with it, whose way out is a
 * link that leads nowhere.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { silentLog } from '../../../driver/index.ts'
import { openImages } from '../../../storage/index.ts'
import { findProgram } from '../emulator/emulator.ts'
import { openTestDriver } from '../testing/test-daemon.ts'
import { openTerminal, prompt, type Terminal } from '../testing/test-terminal.ts'

const run = promisify(execFile)
const ip = async (line: string) => (await run('ip', line.split(' '))).stdout

/** Asks until the answer is as expected; gives that. */
async function until(what: string, ask: () => Promise<string>, expected: RegExp): Promise<string> {
  const deadline = performance.now() + 60_000
  for (;;) {
    const answer = await ask()
    if (expected.test(answer)) return answer
    assert.ok(performance.now() < deadline, `${what}: ${answer} never was ${expected}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** What a port says to whoever says something (passt of 2023 goes on only then); empty when nobody is there. */
const read = (port: number, host: string) =>
  new Promise<string>((resolve) => {
    let said = ''
    const socket = connect({ port, host }, () => socket.write('you first\n'))
    socket.setTimeout(5_000, () => socket.destroy())
    socket.on('data', (chunk) => {
      said += chunk.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(said))
  })

async function makeHost(): Promise<void> {
  // Of the namespace, not of the host.
  await run('mount', ['-t', 'sysfs', 'none', '/sys'])
  await ip('link set lo up')
  await ip('link add up0 type veth peer name up1')
  for (const link of ['up0', 'up1']) await ip(`link set ${link} up`)
  await ip('address add 198.51.100.2/24 dev up0')
  await ip('route add default via 198.51.100.1')
}

async function inside(directory: string, image: string): Promise<void> {
  const { kernel, initrd, commandLine } = JSON.parse(image) as Record<string, string>
  await makeHost()
  let connection = await openTestDriver(directory)
  const passts = () => readdir(join(directory, 'run', 'passt')).catch(() => [])
  const { uuid } = await connection.domains.define({
    type: 'qemu',
    name: 'carded',
    memoryKiB: 196_608,
    os: { kernel, initrd, commandLine },
    devices: {
      serials: [{}],
      interfaces: [
        {
          type: 'user',
          backend: 'passt',
          backendLog: join(directory, 'passt.log'),
          ips: [{ address: '10.9.0.7', prefix: 24 }],
          portForwards: [
            {
              proto: 'tcp',
              address: '127.0.0.1',
              ranges: [
                { start: 8080, end: 8084, to: 80 },
                { start: 8082, exclude: true },
              ],
            },
          ],
        },
      ],
    },
  })
  await connection.domains.start(uuid)
  const shell = openTerminal(await connection.domains.openConsole(uuid, { scrollback: true }))
  await shell.until(prompt)
  await passtWorks(shell)
  assert.deepEqual(await passts(), [`${uuid}.net0`])
  // A later daemon finds it again, and ends it with the machine.
  await connection.close()
  connection = await openTestDriver(directory)
  assert.equal(await read(8080, '127.0.0.1'), 'hello\n')
  await connection.domains.destroy(uuid)
  assert.deepEqual(await passts(), [])
  assert.equal(await read(8080, '127.0.0.1'), '')
  await connection.close()
}

async function passtWorks(shell: Terminal): Promise<void> {
  await until('address by DHCP', () => shell.ask('ip -4 addr show eth0'), /inet 10\.9\.0\.7\/24/u)
  await shell.ask('while true; do echo hello | nc -l -p 80; done >/dev/null 2>&1 & true')
  await until('published port', () => read(8080, '127.0.0.1'), /^hello\n$/u)
  assert.equal(await read(8082, '127.0.0.1'), '')
}

const [, , role, directory, image] = process.argv
if (role === 'inside' && directory && image) await inside(directory, image)
else {
  const needed = ['qemu-system-x86_64', 'ip', 'passt']
  const missing: string[] = []
  for (const name of needed) if (!(await findProgram(name))) missing.push(name)
  const skip =
    process.getuid?.() !== 0
      ? 'a network namespace needs root'
      : missing.length > 0
        ? `${missing.join(', ')} is not here: install qemu-system-x86, iproute2, passt`
        : false
  test('cards of a guest carry what they shall', { skip, timeout: 300_000 }, async () => {
    const place = await mkdtemp(join(tmpdir(), 'visor-network-'))
    try {
      const images = openImages({ stateDirectory: place, log: silentLog })
      const built = await images.build?.('micro', { arch: 'x86_64' })
      await run('unshare', [
        ...['--net', '--mount', '--propagation', 'private'],
        ...[process.execPath, import.meta.filename, 'inside', place, JSON.stringify(built)],
      ])
    } finally {
      await rm(place, { recursive: true, force: true })
    }
  })
}
