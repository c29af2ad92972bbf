/** Each thing that can be in the way of a packet is put there, and must be the one that is named. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  askForAddress,
  inside,
  isOnTestHost,
  listHost,
  makeGuest,
  missingForTestHost,
  onTestHost,
  plugGuest,
  removeGuest,
  setUpTestHost,
} from '../../../test/fixtures/test-host.ts'
import { memoryStore, silentLog } from '../../driver/index.ts'
import {
  type GuestInterfaceAddress,
  NetworkDefinition,
  NwfilterDefinition,
  type PathStep,
  parse,
} from '../../model/index.ts'
import { openNetworks } from '../index.ts'

const echo = join(import.meta.dirname, '../../../test/fixtures/echo.ts')

async function runOnTestHost(): Promise<void> {
  setUpTestHost()
  const folder = await mkdtemp(join(tmpdir(), 'visor-explain-'))
  await chmod(folder, 0o755)
  const open = async () => {
    const opened = await openNetworks({
      stateDirectory: join(folder, 'state'),
      runtimeDirectory: join(folder, 'run'),
      store,
      log: silentLog,
    })
    assert.ok(opened)
    return opened
  }
  const store = memoryStore()
  let host = await open()
  const before = listHost()
  const children: ChildProcess[] = []
  const serve = async (where: string) => {
    const [program = '', ...args] =
      where === 'host' ? [process.execPath] : ['ip', 'netns', 'exec', where, process.execPath]
    const child = spawn(program, [...args, echo, 'serve'], { stdio: ['ignore', 'pipe', 'inherit'] })
    children.push(child)
    assert.ok(child.stdout)
    await once(child.stdout, 'data')
  }
  const ip = (line: string) => inside('host', 'ip', ...line.split(' '))
  const nft = (script: string) => execFileSync('nft', script.split(' '), { encoding: 'utf8' })
  const sysctl = (name: string, value: string) =>
    inside('host', 'sh', '-c', `echo ${value} > /proc/sys/net/${name}`)
  const guests: string[] = []
  async function add(guest: string, network: string, asks = true): Promise<string> {
    const number = guests.push(guest)
    const [link, mac] = [`vg${number}`, `52:54:00:00:03:0${number}`]
    makeGuest(guest, link, mac)
    const access = await host.guests.admit({ network, domain: guest, name: guest, driver: 'test', mac })
    plugGuest(guest, link, access.bridge ?? '')
    await access.join(link)
    return asks ? askForAddress(guest, folder) : ''
  }
  interface More {
    readonly port?: number
    readonly addresses?: readonly GuestInterfaceAddress[]
    readonly isUnplugged?: boolean
  }
  async function explain(guest: string, target: string, { port, addresses, isUnplugged = false }: More = {}) {
    const number = guests.indexOf(guest) + 1
    const cards = [{ mac: `52:54:00:00:03:0${number}`, isUnplugged }]
    return host.guests.explain({
      ...{ domain: guest, name: guest, cards, target, port, proto: port === undefined ? 'icmp' : 'tcp' },
      addresses: addresses ?? (await host.guests.addressesOf(guest, cards)),
    })
  }
  const passes = async (guest: string, target: string, port?: number) => {
    const found = await explain(guest, target, port === undefined ? {} : { port })
    assert.ok(found.reached, JSON.stringify(found.steps.at(-1)))
    return found.steps
  }
  /** The step that stops it, and what is said of it. */
  async function stops(guest: string, target: string, name: PathStep['name'], said: RegExp, more: More = {}) {
    const { reached, steps } = await explain(guest, target, more)
    const last = steps.at(-1)
    const text = `${last?.message} try: ${last?.remedy}`
    assert.equal(reached, false, `${guest} to ${target}: nothing stops it, where ${said} should`)
    assert.deepEqual([last?.name, last?.passed], [name, false], text)
    assert.match(text, said)
    assert.ok(last?.remedy, 'a remedy')
    faults++
  }
  let faults = 0

  try {
    const subnet = (n: number) => ({
      addresses: [
        {
          address: `10.9.${n}.1`,
          prefix: 24,
          dhcp: { ranges: [{ start: `10.9.${n}.2`, end: `10.9.${n}.20` }] },
        },
      ],
    })
    const bridges: Record<string, string> = {}
    for (const definition of [
      { name: 'lab', forward: {}, ...subnet(1) },
      { name: 'db', forward: {}, ...subnet(2) },
      { name: 'alone', ...subnet(3) },
      { name: 'inner', forward: { mode: 'internal' as const }, ...subnet(4) },
      { name: 'apart', forward: {}, isolated: true, ...subnet(5) },
      { name: 'narrow', forward: { mode: 'nat' as const, dev: 'lo' }, ...subnet(6) },
    ]) {
      await host.networks.define?.(parse(NetworkDefinition, definition))
      await host.networks.start?.(definition.name)
      bridges[definition.name] = (await host.networks.get(definition.name)).bridge ?? ''
    }
    const lab = bridges.lab ?? ''
    const web = await add('web', 'lab')
    const near = await add('near', 'lab')
    const db = await add('db', 'db')
    await add('lone', 'alone')
    await add('in', 'inner')
    await add('apart1', 'apart')
    await add('apart2', 'apart')
    await add('narrow', 'narrow')
    await add('mute', 'lab', false)
    await Promise.all(['world', 'host', 'near'].map(serve))
    const world = '203.0.113.2'

    // Nothing is in the way.
    const steps = await passes('web', world, 7)
    assert.deepEqual(
      steps.map(({ name }) => name),
      ['card', 'port', 'address', 'forwarding', 'route', 'rules', 'translation', 'way back', 'target'],
    )
    await passes('web', 'near', 7)
    await passes('web', 'host')
    await passes('web', '10.9.1.1', 7)

    // The card, its link, its port, its bridge.
    await stops('web', world, 'card', /unplugged.*domif-setlink web/su, { isUnplugged: true })
    ip('link set vg1 down')
    await stops('web', world, 'link', /'vg1' is down.*ip link set vg1 up/su)
    ip('link set vg1 up')
    inside('web', 'ip', 'link', 'set', 'eth0', 'down')
    await stops('web', world, 'link', /'vg1' has no carrier/u)
    inside('web', 'ip', 'link', 'set', 'eth0', 'up')
    inside('web', 'ip', 'route', 'replace', 'default', 'via', '10.9.1.1')
    ip('link set vg1 nomaster')
    await stops('web', world, 'port', /on no bridge.*ip link set vg1 master/su)
    ip(`link set vg1 master ${bridges.db}`)
    await stops('web', world, 'port', /is on bridge 'visor\d'/u)
    ip(`link set ${lab} type bridge stp_state 1 forward_delay 1500`)
    ip(`link set vg1 master ${lab}`)
    await stops('web', world, 'port', /does not forward yet/u)
    ip(`link set ${lab} type bridge stp_state 0`)
    ip(`link set ${lab} type bridge forward_delay 0`)
    ip('link set vg1 nomaster')
    ip(`link set vg1 master ${lab}`)
    ip(`link set ${lab} down`)
    await stops('web', world, 'bridge', /down.*ip link set visor\d up/su)
    ip(`link set ${lab} up`)

    // Its address.
    await stops('mute', world, 'address', /has not taken its address 10\.9\.1\.4: it has not asked/u)
    await stops('web', '2001:db8::2', 'address', /has no IPv6/u)
    const told = (address: string): GuestInterfaceAddress => ({
      ...{ interface: 'eth0', mac: '52:54:00:00:03:01', address, family: 'ipv4', sources: ['agent'] },
    })
    await stops('web', world, 'senders', /sends from 10\.9\.1\.99, which is not its address/u, {
      addresses: [told('10.9.1.99')],
    })

    // Modes.
    await stops('lone', world, 'mode', /'isolated': nothing leads out/u)
    await stops('in', world, 'mode', /'internal': nothing leads out/u)
    await stops('in', '203.0.113.1', 'mode', /this host is not on it/u)
    await stops('apart1', 'apart2', 'mode', /kept apart/u)
    await stops('narrow', world, 'mode', /leads out only by 'lo'/u)
    await stops('web', 'db', 'rules', /lets in nobody.*visor publish db/su)
    await stops('web', db, 'rules', /lets in nobody/u)

    // The host's forwarding and routes.
    sysctl('ipv4/ip_forward', '0')
    await stops('web', world, 'forwarding', /net\.ipv4\.ip_forward is 0/u)
    sysctl('ipv4/ip_forward', '1')
    sysctl(`ipv4/conf/${lab}/forwarding`, '0')
    await stops('web', world, 'forwarding', /conf\.visor\d\.forwarding is 0/u)
    sysctl(`ipv4/conf/${lab}/forwarding`, '1')
    ip('route delete default')
    await stops('web', '198.51.100.7', 'route', /knows no way to 198\.51\.100\.7/u)
    ip('route add unreachable 198.51.100.0/24')
    await stops('web', '198.51.100.7', 'route', /knows no way/u)
    ip('route delete unreachable 198.51.100.0/24')
    ip('route add default via 203.0.113.77')
    await stops('web', '198.51.100.7', 'way out', /router 203\.0\.113\.77 does not answer/u)
    ip('route replace default via 203.0.113.2')
    inside('world', 'ip', 'link', 'set', 'eth0', 'down')
    await stops('web', world, 'way out', /'uplink', but it has no carrier/u)
    inside('world', 'ip', 'link', 'set', 'eth0', 'up')
    await stops('web', '203.0.113.200', 'way out', /203\.0\.113\.200 does not answer on 'uplink'/u)

    // Rules of others.
    nft('add table ip filter')
    nft('add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }')
    await stops(
      'web',
      world,
      'rules',
      /chain 'FORWARD' of table 'ip filter', whose policy is to drop.*nft insert rule ip filter FORWARD iifname "visor\d" accept/su,
    )
    nft('add chain ip filter DOCKER-USER')
    nft('add rule ip filter FORWARD counter jump DOCKER-USER')
    await stops('web', world, 'rules', /iptables -I DOCKER-USER -i visor\d -j ACCEPT/u)
    nft(`add rule ip filter DOCKER-USER iifname ${lab} accept`)
    await stops('web', world, 'way back', /iptables -I DOCKER-USER -o visor\d -j ACCEPT/u)
    nft('add rule ip filter DOCKER-USER ct state established,related accept')
    await passes('web', world)
    nft(
      'insert rule ip filter FORWARD ip daddr 203.0.113.0/24 icmp type echo-request limit rate 1/second drop',
    )
    await passes('web', world)
    nft(
      'insert rule ip filter FORWARD ip saddr 10.9.1.0/24 ip daddr { 192.0.2.1, 203.0.113.0/24 } tcp dport 7-9 reject',
    )
    await stops('web', world, 'rules', /rejected in chain 'FORWARD'.*tcp dport 7-9.*reject/su, { port: 7 })
    await passes('web', world)
    nft('delete table ip filter')
    nft('add table inet firewalld')
    nft('add chain inet firewalld filter_INPUT { type filter hook input priority 10; policy accept; }')
    nft(`add rule inet firewalld filter_INPUT iifname vmap { ${lab} : drop }`)
    await stops(
      'web',
      '10.9.1.1',
      'rules',
      /firewall-cmd --permanent --zone=trusted --add-interface=visor\d/u,
    )
    nft('delete table inet firewalld')
    nft('add table bridge other')
    nft('add chain bridge other forward { type filter hook forward priority 0; policy accept; }')
    nft('add rule bridge other forward oifname vg2 drop')
    await stops('web', 'near', 'rules', /table 'bridge other', by its rule 'oifname "vg2" drop'/u)
    nft('delete table bridge other')

    // Filters, of who sends and of who gets it.
    const filter = (name: string, direction: string, protocol: string) =>
      host.nwfilters.define?.(
        parse(NwfilterDefinition, {
          name,
          entries: [{ rule: { action: 'drop', direction, [protocol]: {} } }],
        }),
      )
    await filter('no-pings-out', 'out', 'icmp')
    await filter('no-tcp-in', 'in', 'tcp')
    const [webMac, nearMac] = ['52:54:00:00:03:01', '52:54:00:00:03:02']
    await host.guests.setFilter('web', webMac, { filter: 'no-pings-out' })
    await host.guests.setFilter('near', nearMac, { filter: 'no-tcp-in' })
    await stops('web', 'near', 'senders', /filter 'no-pings-out' of 'web'.*nwfilter edit no-pings-out/su)
    await stops('web', 'near', 'rules', /filter 'no-tcp-in' of 'near'/u, { port: 7 })
    await host.guests.setFilter('web', webMac, {})
    await host.guests.setFilter('near', nearMac, {})
    await passes('web', 'near', 7)

    // Whom it is for.
    ip('link set vg2 down')
    await stops('web', 'near', 'target', /At 'near': The link 'vg2' is down/u)
    ip('link set vg2 up')
    await stops('web', 'near', 'target', new RegExp(`${near} is there, but nothing listens on port 9`, 'u'), {
      port: 9,
    })
    await stops('web', '10.9.1.1', 'target', /Nothing on this host listens on 10\.9\.1\.1, port 9/u, {
      port: 9,
    })
    await stops('web', world, 'target', /203\.0\.113\.2 is there, but nothing listens/u, { port: 9 })

    // Our own rules are taken away by somebody; who answers DHCP has ended for good.
    inside('host', 'nft', 'flush', 'ruleset')
    await stops('web', world, 'rules', /not in force.*Restart visord/su)
    await host.close()
    host = await open()
    await passes('web', world, 7)
    assert.equal((await readFile('/proc/sys/net/ipv4/ip_forward', 'utf8')).trim(), '1')
    await assert.rejects(explain('web', 'nobody.invalid'), { code: 'not-found' })
    assert.ok(web)
    await host.guests.leave('mute')
    await stops('mute', world, 'card', /on no network/u)
    console.log(`${faults} faults were named`)
  } finally {
    for (const child of children) child.kill('SIGKILL')
    for (const guest of guests) {
      await host.guests.leave(guest)
      removeGuest(guest)
    }
    for (const { name, active } of await host.networks.list())
      if (active) await host.networks.destroy?.(name, { force: true })
    await host.close()
    await rm(folder, { recursive: true, force: true })
  }
  assert.deepEqual(listHost(), before)
}

if (isOnTestHost()) {
  await runOnTestHost()
  process.exit(0)
} else
  test(
    'what stops a packet is named, whatever it is',
    {
      skip: missingForTestHost(['ip', 'nft', 'dnsmasq', 'udhcpc', 'ping', 'unshare']),
      timeout: 600_000,
    },
    () => onTestHost(import.meta.filename),
  )
