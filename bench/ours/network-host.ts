/**
 * Networks on a test host, for the benchmarks: a process in namespaces of its own, which does what a line on its
 * standard input asks for and answers with how long it took, milliseconds.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { memoryStore, silentLog } from '../../src/driver/index.ts'
import { NetworkDefinition, parse } from '../../src/model/index.ts'
import { openNetworks } from '../../src/network/index.ts'
import { makeGuest, onHost, plugGuest, setUpTestHost } from '../../test/fixtures/test-host.ts'

const folder = process.argv[2] ?? ''
const sizeBytes = 400_000_000

setUpTestHost()
const opened = await openNetworks({
  stateDirectory: join(folder, 'state'),
  runtimeDirectory: join(folder, 'run'),
  store: memoryStore(),
  log: silentLog,
})
if (!opened) throw new Error('networks need root')
const { networks, guests, publications } = opened

const subnet = (n: number, prefix = 24) => ({
  addresses: [
    {
      address: `10.${n}.0.1`,
      prefix,
      dhcp: { ranges: [{ start: `10.${n}.0.2`, end: `10.${n}.${prefix === 24 ? 0 : 9}.200` }] },
    },
  ],
})
for (const definition of [
  { name: 'bench', forward: {}, ...subnet(101) },
  { name: 'wide', forward: {}, ...subnet(102, 16) },
  { name: 'fast', forward: {}, ...subnet(103) },
])
  await networks.define?.(parse(NetworkDefinition, definition))

async function timed(work: () => unknown): Promise<number> {
  const began = performance.now()
  await work()
  return performance.now() - began
}

async function put(network: string, name: string, link: string, number: number): Promise<void> {
  const mac = `52:54:00:00:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}`
  const access = await guests.admit({ network, domain: name, name, driver: 'test', mac })
  onHost('ip', 'link', 'set', 'dev', link, 'master', access.bridge ?? '')
  await access.join(link)
}

/** As visor starts it: until it has written that it listens. */
async function dnsmasqAlone(): Promise<number> {
  onHost('ip', 'link', 'add', 'br-raw', 'type', 'bridge')
  onHost('ip', 'address', 'add', '10.110.0.1/24', 'dev', 'br-raw')
  onHost('ip', 'link', 'set', 'br-raw', 'up')
  const pid = join(folder, 'raw.pid')
  rmSync(pid, { force: true })
  const args = [
    '--conf-file=/dev/null',
    '--keep-in-foreground',
    '--bind-dynamic',
    '--except-interface=lo',
    '--interface=br-raw',
  ]
  const own = [
    `--pid-file=${pid}`,
    '--dhcp-range=10.110.0.2,10.110.0.200',
    `--dhcp-leasefile=${join(folder, 'raw.leases')}`,
  ]
  const began = performance.now()
  const child = spawn('dnsmasq', [...args, ...own, '--user=root'], { stdio: 'ignore' })
  while (!existsSync(pid)) await new Promise((resolve) => setTimeout(resolve, 1))
  const took = performance.now() - began
  child.kill('SIGKILL')
  await once(child, 'exit')
  onHost('ip', 'link', 'delete', 'br-raw')
  return took
}

/** Bytes from one guest to another, as fast as they go. */
async function transfer(from: string, to: string, address: string): Promise<number> {
  const inside = (where: string, script: string) =>
    spawn('ip', ['netns', 'exec', where, process.execPath, '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  const sink = inside(
    to,
    "require('node:net').createServer({ allowHalfOpen: true }, (s) => s.on('end', () => s.end('done')).resume()).listen(9, () => console.log('ready'))",
  )
  await once(sink.stdout, 'data')
  const source = inside(
    from,
    `const b = Buffer.alloc(1 << 20); let left = ${sizeBytes}; const t = performance.now(); const s = require('node:net').connect(9, '${address}'); const go = () => { while (left > 0) { left -= b.length; if (!s.write(b)) return s.once('drain', go) } s.end() }; s.on('connect', go).on('data', () => console.log(performance.now() - t))`,
  )
  const [took] = (await once(source.stdout, 'data')) as [Buffer]
  sink.kill('SIGKILL')
  return Number(took.toString())
}

let isFastReady = false
async function readyFast(): Promise<void> {
  if (isFastReady) return
  isFastReady = true
  await networks.start?.('fast')
  const { bridge = '' } = await networks.get('fast')
  onHost('ip', 'link', 'add', 'br-raw2', 'type', 'bridge', 'forward_delay', '0')
  onHost('ip', 'link', 'set', 'br-raw2', 'up')
  for (const [index, [name, on]] of [
    ['o1', bridge],
    ['o2', bridge],
    ['r1', 'br-raw2'],
    ['r2', 'br-raw2'],
  ].entries()) {
    const mac = `52:54:00:00:77:0${index}`
    makeGuest(name ?? '', `vf${index}`, mac)
    plugGuest(name ?? '', `vf${index}`, on ?? '')
    const address = on === bridge ? `10.103.0.${index + 2}` : `10.111.0.${index}`
    if (on === bridge) {
      const access = await guests.admit({
        network: 'fast',
        domain: name ?? '',
        name: name ?? '',
        driver: 'test',
        mac,
      })
      await access.join(`vf${index}`)
    }
    onHost('ip', '-n', name ?? '', 'address', 'add', `${address}/24`, 'dev', 'eth0')
  }
}

const asked: Readonly<Record<string, () => Promise<number>>> = {
  async start() {
    const took = await timed(() => networks.start?.('bench'))
    await networks.destroy?.('bench')
    return took
  },
  dnsmasq: dnsmasqAlone,
  async port() {
    await networks.start?.('bench')
    onHost('ip', 'link', 'add', 'vb1', 'type', 'veth', 'peer', 'name', 'vb2')
    const mac = '52:54:00:00:66:01'
    const access = await guests.admit({ network: 'bench', domain: 'web', name: 'web', driver: 'test', mac })
    onHost('ip', 'link', 'set', 'dev', 'vb1', 'master', access.bridge ?? '')
    const took = await timed(() => access.join('vb1'))
    await guests.leave('web')
    onHost('ip', 'link', 'delete', 'vb1')
    await networks.destroy?.('bench')
    return took
  },
  async publish() {
    await networks.start?.('bench')
    onHost('ip', 'link', 'add', 'vb1', 'type', 'veth', 'peer', 'name', 'vb2')
    await put('bench', 'web', 'vb1', 7)
    let id = ''
    const took = await timed(async () => {
      id = (await publications.create?.({ domain: 'web', name: 'web', start: 8080, to: 80 }))?.id ?? ''
    })
    await publications.remove?.(id)
    await guests.leave('web')
    onHost('ip', 'link', 'delete', 'vb1')
    await networks.destroy?.('bench')
    return took
  },
  /** All rules anew, of 500 guests, with one port that leads to one. */
  async rules() {
    const { active } = await networks.get('wide')
    if (!active) {
      await networks.start?.('wide')
      for (let number = 1; number <= 500; number++) {
        onHost('ip', 'link', 'add', `vw${number}`, 'type', 'ifb')
        const mac = `52:54:00:01:${(number >> 8).toString(16).padStart(2, '0')}:${(number & 255).toString(16).padStart(2, '0')}`
        const access = await guests.admit({
          network: 'wide',
          domain: `g${number}`,
          name: `g${number}`,
          driver: 'test',
          mac,
        })
        await access.join(`vw${number}`)
      }
    }
    // Else only what is new would be told to the kernel.
    onHost('nft', 'flush', 'ruleset')
    let id = ''
    const took = await timed(async () => {
      id = (await publications.create?.({ domain: 'g1', name: 'g1', start: 9090, to: 80 }))?.id ?? ''
    })
    await publications.remove?.(id)
    return took
  },
  async ours() {
    await readyFast()
    return transfer('o1', 'o2', '10.103.0.3')
  },
  async raw() {
    await readyFast()
    return transfer('r1', 'r2', '10.111.0.3')
  },
}

mkdirSync(folder, { recursive: true })
console.log('ready')
for await (const line of createInterface({ input: process.stdin })) {
  const work = asked[line]
  console.log(work ? await work() : Number.NaN)
}
for (const { name, active } of await networks.list())
  if (active) await networks.destroy?.(name, { force: true })
await opened.close()
process.exit(0)
