import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { missingForTestHost } from '../../test/fixtures/test-host.ts'
import type { Benchmark, Contender, Workbench } from '../harness.ts'
import { openLibvirt } from '../peers/libvirt.ts'

const host = join(import.meta.dirname, '../ours/network-host.ts')

/** What is asked of networks on a host of their own; nothing, with a note, where there can be none. */
async function contenders(bench: Workbench, names: Readonly<Record<string, readonly [string, boolean]>>) {
  const missing = missingForTestHost(['ip', 'nft', 'dnsmasq', 'unshare'])
  if (missing) bench.note(missing)
  if (missing) return []
  const child: ChildProcess = spawn(
    'unshare',
    ['--net', '--mount', '--propagation', 'private', process.execPath, host, join(bench.directory, 'host')],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  bench.defer(async () => {
    const ended = once(child, 'exit')
    child.stdin?.end()
    await ended
  })
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]()
  await lines.next()
  return Object.entries(names).map(
    ([word, [name, ours]]): Contender => ({
      ...{ name, ours },
      async sample() {
        child.stdin?.write(`${word}\n`)
        return Number((await lines.next()).value)
      },
    }),
  )
}

const startName = 'visor, network start'
const dnsmasqName = 'dnsmasq alone, until it listens'
const libvirtName = 'libvirt, net-start'

/** The same network as ours. */
const libvirtNetwork = `<network>
  <name>bench</name>
  <forward mode='nat'/>
  <bridge name='virbench'/>
  <ip address='10.123.0.1' prefix='24'><dhcp><range start='10.123.0.2' end='10.123.0.254'/></dhcp></ip>
</network>`

async function libvirtContender(bench: Workbench): Promise<Contender[]> {
  const libvirt = await openLibvirt(bench)
  if (!libvirt) return []
  const sample = () => libvirt.call({ op: 'network', xml: libvirtNetwork })
  return [{ name: libvirtName, ours: false, sample }]
}

export const networkStart: Benchmark = {
  id: 'network-start',
  title: 'Network start: bridge, address, rules, DHCP and DNS answering',
  unit: 'ms',
  aims: [
    { ours: startName, peer: dnsmasqName, kind: 'at-most-more', value: 80 },
    { ours: startName, peer: libvirtName, kind: 'faster-times', value: 4 },
  ],
  prepare: async (bench) => [
    ...(await contenders(bench, { start: [startName, true], dnsmasq: [dnsmasqName, false] })),
    ...(await libvirtContender(bench)),
  ],
}

const portName = "visor, a guest's port joins"
const publishName = 'visor, publish a port'
const manyName = 'visor, all rules anew with 500 guests'

export const networkPorts: Benchmark = {
  id: 'network-ports',
  title: 'Ports: a guest joins, a port is published, the rules of 500 guests in one transaction',
  unit: 'ms',
  aims: [
    { ours: portName, kind: 'at-most', value: 10 },
    { ours: publishName, kind: 'at-most', value: 10 },
    { ours: manyName, kind: 'at-most', value: 200 },
  ],
  prepare: (bench) =>
    contenders(bench, { port: [portName, true], publish: [publishName, true], rules: [manyName, true] }),
}

const oursName = "between guests of visor's network"
const rawName = 'the same on a bridge made by hand'

export const networkThroughput: Benchmark = {
  id: 'network-throughput',
  title: 'Throughput: 400 MB from guest to guest by TCP',
  unit: 'ms',
  aims: [{ ours: oursName, peer: rawName, kind: 'at-most-times', value: 1.05 }],
  prepare: (bench) => contenders(bench, { ours: [oursName, true], raw: [rawName, false] }),
}
