/** Who reaches whom: the table of docs/networks.md, each cell by real packets, IPv4 and IPv6. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import {
  askForAddress,
  askForIpv6,
  inside,
  insideMeanwhile,
  isOnTestHost,
  listHost,
  makeGuest,
  missingForTestHost,
  onTestHost,
  plugGuest,
  probe,
  removeGuest,
  setUpTestHost,
  type Target,
} from '../../test/fixtures/test-host.ts'
import { type HostNetworks, memoryStore, silentLog } from '../driver/index.ts'
import { NetworkDefinition, type NetworkDefinitionInput, parse } from '../model/index.ts'
import { openNetworks } from './index.ts'

const echo = join(import.meta.dirname, '../../test/fixtures/echo.ts')
/** Seconds for an answer that comes, which a busy host may be slow with; and for one that must not come. */
const [patience, shortly] = [60, 3]

type Family = 'ipv4' | 'ipv6'

/** A network under test: its number is in its addresses. */
interface Case {
  readonly number: number
  readonly definition: Omit<NetworkDefinitionInput, 'name'>
  readonly rows: readonly (readonly [string, Family])[]
}

const both = (row: string) => [[row, 'ipv4'] as const, [row, 'ipv6'] as const]

const cases: Readonly<Record<string, Case>> = {
  nat: {
    number: 1,
    definition: { forward: { mode: 'nat' } },
    rows: [
      ['`nat`, IPv4', 'ipv4'],
      ['`nat`, IPv6', 'ipv6'],
    ],
  },
  nat66: {
    number: 2,
    definition: { forward: { mode: 'nat', nat: { ipv6: true } } },
    rows: [
      ['`nat`, IPv4', 'ipv4'],
      ["`nat` with `<nat ipv6='yes'/>`, IPv6", 'ipv6'],
    ],
  },
  route: { number: 3, definition: { forward: { mode: 'route' } }, rows: both('`route`') },
  open: { number: 4, definition: { forward: { mode: 'open' } }, rows: both('`open`') },
  isolated: { number: 5, definition: {}, rows: both('`isolated`') },
  internal: { number: 6, definition: { forward: { mode: 'internal' } }, rows: both('`internal`') },
  vxlan: {
    number: 7,
    definition: {
      forward: { mode: 'vxlan' },
      vxlan: { id: 77, local: '192.0.2.1', peers: [{ address: '192.0.2.2' }] },
    },
    rows: both('`vxlan`'),
  },
  bridge: {
    number: 8,
    definition: { forward: { mode: 'bridge' }, bridge: 'br-lan' },
    rows: both('`bridge`'),
  },
}

/** Who answers: the others for the address of the host and of who is outside. */
const columns = [
  'guest to guest',
  'guest to host',
  'host to guest',
  'guest to outside',
  'outside to guest',
  'other network to guest',
] as const

/** The table of the page, by network and column. */
function readTable(): ReadonlyMap<string, Readonly<Record<string, string>>> {
  const page = readFileSync(join(import.meta.dirname, '../../docs/networks.md'), 'utf8')
  const lines = page.slice(page.indexOf('| network | guest to guest')).split('\n\n')[0]?.split('\n') ?? []
  const [head = [], , ...rows] = lines.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
  assert.deepEqual(head.slice(1), columns)
  return new Map(
    rows.map(([name = '', ...cells]) => [
      name,
      Object.fromEntries(columns.map((column, index) => [column, cells[index] ?? ''])),
    ]),
  )
}

const subnetsOf = (number: number): NetworkDefinitionInput['addresses'] => [
  {
    address: `10.9.${number}.1`,
    prefix: 24,
    dhcp: { ranges: [{ start: `10.9.${number}.10`, end: `10.9.${number}.20` }] },
  },
  {
    address: `fd09:${number}::1`,
    prefix: 64,
    dhcp: { ranges: [{ start: `fd09:${number}::10`, end: `fd09:${number}::20` }] },
  },
]

async function open(folder: string): Promise<HostNetworks> {
  const opened = await openNetworks({
    stateDirectory: join(folder, 'state'),
    runtimeDirectory: join(folder, 'run'),
    store: memoryStore(),
    log: silentLog,
  })
  assert.ok(opened)
  return opened
}

/** A LAN with its own DHCP, and a bridge of the host's that is on it. */
function setUpLan(folder: string): ChildProcess {
  const lines = [
    'link add br-lan type bridge forward_delay 0',
    'link set br-lan addrgenmode none',
    'link set br-lan up',
    'address add 198.51.100.1/24 dev br-lan',
    'address add 2001:db8:8::1/64 dev br-lan nodad',
    'netns add lan',
    'link add lan0 type veth peer name eth0 netns lan',
    'link set lan0 addrgenmode none master br-lan up',
  ]
  for (const line of lines) inside('host', 'ip', ...line.split(' '))
  const beyond = [
    'address add 198.51.100.2/24 dev eth0',
    'address add 2001:db8:8::2/64 dev eth0 nodad',
    'link set lo up',
    'link set eth0 up',
    'route add default via 198.51.100.1',
    '-6 route add default via 2001:db8:8::1',
  ]
  for (const line of beyond) inside('lan', 'ip', ...line.split(' '))
  const serves = [
    ...['--conf-file=/dev/null', '--no-daemon', '--port=0', '--interface=eth0', '--enable-ra', '--no-ping'],
    '--dhcp-range=198.51.100.50,198.51.100.60',
    '--dhcp-range=2001:db8:8::50,2001:db8:8::60,64',
    ...[`--dhcp-leasefile=${join(folder, 'lan.leases')}`, '--user=root', '--pid-file='],
  ]
  return spawn('ip', ['netns', 'exec', 'lan', 'dnsmasq', ...serves], { stdio: 'ignore' })
}

/** Another host, on which a guest is on the same segment; its daemon is a process of its own. */
async function setUpFarHost(
  folder: string,
): Promise<{ readonly child: ChildProcess; join(): Promise<void> }> {
  for (const line of [
    'netns add far',
    'link add tofar type veth peer name eth0 netns far',
    'address add 192.0.2.1/24 dev tofar',
    'link set tofar addrgenmode none up',
  ])
    inside('host', 'ip', ...line.split(' '))
  for (const line of ['address add 192.0.2.2/24 dev eth0', 'link set eth0 up', 'link set lo up'])
    inside('far', 'ip', ...line.split(' '))
  const child = spawn(
    'ip',
    ['netns', 'exec', 'far', process.execPath, import.meta.filename, 'on-far-host', folder],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  )
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]()
  const { value: bridge } = await lines.next()
  inside('host', 'ip', 'netns', 'add', 'far2')
  const mac = '52:54:00:00:77:02'
  inside(
    'host',
    'ip',
    '-n',
    'far',
    ...`link add vgf type veth peer name eth0 address ${mac} netns far2`.split(' '),
  )
  inside('host', 'ip', '-n', 'far', ...`link set vgf master ${bridge} up`.split(' '))
  inside('far2', 'sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad')
  inside('far2', 'ip', 'link', 'set', 'eth0', 'up')
  return {
    child,
    async join() {
      child.stdin?.write('join\n')
      assert.equal((await lines.next()).value, 'joined')
    },
  }
}

async function runOnFarHost(folder: string): Promise<void> {
  const host = await open(folder)
  const forward = { forward: { mode: 'vxlan' as const } }
  const vxlan = { id: 77, local: '192.0.2.2', peers: [{ address: '192.0.2.1' }] }
  await host.networks.define?.(
    parse(NetworkDefinition, { name: 'wide', bridge: 'visor-far', ...forward, vxlan }),
  )
  await host.networks.start?.('wide')
  const mac = '52:54:00:00:77:02'
  const access = await host.guests.admit({
    network: 'wide',
    domain: 'far2',
    name: 'far2',
    driver: 'test',
    mac,
  })
  console.log(access.bridge)
  for await (const line of createInterface({ input: process.stdin })) {
    assert.equal(line, 'join')
    await access.join('vgf')
    console.log('joined')
  }
  await host.guests.leave('far2')
  await host.networks.destroy?.('wide')
  await host.close()
}

/** A question for the table: from where, to which address, and what the page says. */
interface Cell {
  readonly from: string
  readonly address: string
  readonly says: string
  readonly what: string
}

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const folder = await mkdtemp(join(tmpdir(), 'visor-reach-'))
  await chmod(folder, 0o755)
  const children: ChildProcess[] = [setUpLan(folder)]
  const far = await setUpFarHost(join(folder, 'far'))
  const host = await open(folder)
  const before = listHost()
  const serve = async (where: string) => {
    const [program = '', ...args] =
      where === 'host' ? [process.execPath] : ['ip', 'netns', 'exec', where, process.execPath]
    const child = spawn(program, [...args, echo, 'serve'], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    assert.ok(child.stdout)
    await once(child.stdout, 'data')
  }
  const addresses = new Map<string, Readonly<Record<Family, string>>>()
  const askFor = async (guest: string) => {
    const ipv4 = await askForAddress(guest, folder)
    addresses.set(guest, { ipv4, ipv6: await askForIpv6(guest, folder) })
  }
  const admitted: string[] = []
  async function add(guest: string, network: string): Promise<void> {
    const number = admitted.push(guest)
    const mac = `52:54:00:00:01:${number.toString(16).padStart(2, '0')}`
    const link = `vg${number}`
    makeGuest(guest, link, mac)
    const access = await host.guests.admit({ network, domain: guest, name: guest, driver: 'test', mac })
    plugGuest(guest, link, access.bridge ?? '')
    await access.join(link)
  }
  const all = [...Object.keys(cases), 'other']
  try {
    for (const name of all) {
      const { number, definition } = cases[name] ?? { number: 9, definition: cases.nat66?.definition }
      const own = name === 'bridge' ? {} : { addresses: subnetsOf(number) }
      await host.networks.define?.(parse(NetworkDefinition, { name, ...definition, ...own }))
      await host.networks.start?.(name)
      await add(`${name}1`, name)
      if (name !== 'vxlan' && name !== 'other') await add(`${name}2`, name)
      // Who is outside knows a way to all of them.
      for (const [family, via] of [
        [`-4 route add 10.9.${number}.0/24`, '203.0.113.1'],
        [`-6 route add fd09:${number}::/64`, '2001:db8::1'],
      ])
        inside('world', 'ip', ...`${family} via ${via}`.split(' '))
    }
    await far.join()
    const guests = [...admitted, 'far2']
    await Promise.all(guests.map(askFor))
    // As hostile as can be: all guests think that there is a way, and the host does of those it is not on.
    for (const name of ['isolated', 'internal', 'vxlan']) {
      const number = cases[name]?.number
      inside(`${name}1`, 'ip', 'route', 'add', 'default', 'via', `10.9.${number}.1`)
      inside(`${name}1`, 'ip', '-6', 'route', 'add', 'default', 'via', `fd09:${number}::1`, 'dev', 'eth0')
      const { bridge = '' } = await host.networks.get(name)
      if (name === 'isolated') continue
      inside('host', 'ip', 'route', 'add', `10.9.${number}.0/24`, 'dev', bridge)
    }
    await Promise.all(['host', 'world', 'lan', ...guests].map(serve))

    const table = readTable()
    const outside: Record<Family, string> = { ipv4: '203.0.113.2', ipv6: '2001:db8::2' }
    const onLan: Record<Family, string> = { ipv4: '198.51.100.2', ipv6: '2001:db8:8::2' }
    const cells = Object.entries(cases).flatMap(([name, { number, rows }]): Cell[] =>
      rows.flatMap(([row, family]) => {
        const says = table.get(row)
        assert.ok(says, `the page has no row ${row}`)
        const guest = addresses.get(name === 'vxlan' ? 'far2' : `${name}2`)?.[family] ?? ''
        const near = addresses.get(`${name}1`)?.[family] ?? ''
        const own = family === 'ipv4' ? `10.9.${number}.1` : `fd09:${number}::1`
        const there = family === 'ipv4' ? '203.0.113.1' : '2001:db8::1'
        const host = name === 'bridge' ? (family === 'ipv4' ? '198.51.100.1' : '2001:db8:8::1') : own
        const ways: Record<(typeof columns)[number], readonly [string, string]> = {
          'guest to guest': [`${name}1`, guest],
          'guest to host': [`${name}1`, ['internal', 'vxlan'].includes(name) ? there : host],
          'host to guest': ['host', near],
          'guest to outside': [`${name}1`, name === 'bridge' ? onLan[family] : outside[family]],
          'outside to guest': [name === 'bridge' ? 'lan' : 'world', near],
          'other network to guest': ['other1', near],
        }
        return columns.map((column) => {
          const [from, address] = ways[column]
          const what = `${name} ${family}: ${column} (${from} to ${address})`
          return { from, address, says: says[column] ?? '', what }
        })
      }),
    )
    assert.equal(cells.length, 96)
    const wrong = [
      ...(await wrongOf(cells.filter(({ says }) => says !== 'no'))),
      ...(await wrongOf(cells.filter(({ says }) => says === 'no'))),
    ]
    assert.deepEqual(wrong, [])
    // A guest may only send from the addresses it has, of either family.
    inside('route1', 'ip', '-6', 'address', 'add', 'fd09:3::66/64', 'dev', 'eth0', 'nodad')
    const victim = addresses.get('route2')?.ipv6 ?? ''
    const forged = insideMeanwhile('route1', 'ping', '-c', '1', '-W', '2', '-I', 'fd09:3::66', victim)
    await assert.rejects(forged)
    console.log(`${cells.length} cells of the table hold`)
  } finally {
    for (const child of children) child.kill('SIGKILL')
    for (const guest of admitted) {
      await host.guests.leave(guest)
      removeGuest(guest)
    }
    for (const { name, active } of await host.networks.list())
      if (active) await host.networks.destroy?.(name, { force: true })
    await host.close()
    const gone = once(far.child, 'exit')
    far.child.stdin?.end()
    await gone
    await rm(folder, { recursive: true, force: true })
  }
  assert.deepEqual(listHost(), before)
}

/** What is not as the page says. */
async function wrongOf(cells: readonly Cell[]): Promise<string[]> {
  const packets = ['icmp', 'tcp', 'udp'] as const
  const found = await Promise.all(
    [...Map.groupBy(cells, ({ from }) => from)].map(async ([from, own]) => {
      const asked = own.flatMap((cell) => packets.map((packet) => ({ cell, packet })))
      const targets = asked.map(
        ({ cell, packet }): Target => ({
          ...{ packet, address: cell.address },
          patience: cell.says === 'no' ? shortly : patience,
        }),
      )
      const answers = await probe(from, targets)
      return asked.flatMap(({ cell, packet }, index) => {
        const answer = answers[index]
        const isRight =
          cell.says === 'no'
            ? answer === undefined
            : answer !== undefined && (packet === 'icmp' || isAsTold(cell.says, answer))
        return isRight ? [] : [`${cell.what} by ${packet}: ${answer ?? 'nothing'}, not '${cell.says}'`]
      })
    }),
  )
  return found.flat()
}

/** Who is asked says who it thinks asks. */
const isAsTold = (says: string, answer: string): boolean =>
  says.startsWith('as the host') === /(?:^hello (?:::ffff:)?(?:203\.0\.113\.1|2001:db8::1))$/u.test(answer) ||
  says.startsWith('yes')

if (isOnTestHost()) {
  await runOnTestHost()
  process.exit(0)
} else if (process.argv[2] === 'on-far-host') {
  await runOnFarHost(process.argv[3] ?? '')
  process.exit(0)
} else
  test(
    'the table of who reaches whom holds, packet by packet',
    {
      skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'udhcpc', 'dhclient', 'ping', 'unshare']),
      timeout: 600_000,
    },
    () => onTestHost(import.meta.filename),
  )
