import { Argument, type Command, Option } from 'commander'
import type { CompleteConnection } from '../../driver/index.ts'
import {
  formatNetworkDefinition,
  type GuestName,
  type Network,
  type NetworkLease,
  type NetworkPort,
  type NetworkSection,
  networkChanges,
  networkMode,
  networkSections,
  parseIp,
  parseNetworkDefinition,
  parseNetworkElement,
} from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addEdit, changeEach, defineFrom } from '../defined-objects.ts'
import { loadText } from '../documents.ts'
import { explainPath } from '../explain.ts'
import { addExamples } from '../help.ts'
import { buildNetwork, type NewNetworkFlags, newModes } from '../new-network.ts'
import { formatSection, joinWords, safe } from '../page.ts'
import { formatTable } from '../table.ts'
import { parseCount } from '../units.ts'

const kind = {
  noun: 'network',
  command: 'network',
  part: ({ networks }: CompleteConnection) => networks,
  parse: parseNetworkDefinition,
  format: formatNetworkDefinition,
}

export function configure(command: Command, context: Context): void {
  command.description('Make networks that machines are on, see who is on them, and take them away.')
  const sub = (name: string, description: string) => command.command(name).description(description)
  const list = command
    .command('list', { isDefault: true })
    .description('List them: how their guests reach the world, and on which addresses.')
    .action(() => listNetworks(context))
  const create = sub('create', 'Make a network, start it, and have it start with the host.')
    .argument('<name>', 'its name')
    .addOption(new Option('--mode <mode>', 'how its guests reach the world').choices(newModes).default('nat'))
    .option('--subnet <subnet...>', 'its addresses: 10.5.0.0/24, fd00:5::/64; one that is free without it')
    .option('--no-dhcp', 'guests have addresses of their own')
    .option('--bridge <bridge>', 'name of the bridge; of one there is, for mode bridge')
    .option('--through <link>', 'only through this link of the host')
    .option('--domain <domain>', 'DNS domain of its guests; NAME.visor without it')
    .option('--mtu <bytes>', 'largest packet')
    .option('--isolate-guests', 'guests do not reach each other')
    .action((name: string, flags: NewNetworkFlags) => createNetwork(context, name, flags))
  const define = sub('define', 'Make networks known from files of XML, YAML or JSON.')
    .argument('<files...>', "files, '-'")
    .action((files: string[]) => defineFrom(context, kind, files))
  const show = sub('show', 'Show a network: its addresses, and who is on it.')
    .argument('<network>', 'its name or uuid')
    .option('--xml', "the definition as libvirt's XML")
    .option('--yaml', 'the definition as YAML')
    .option('--inactive', 'the definition of its next start')
    .action((name: string, flags: ShowFlags) => showNetwork(context, name, flags))
  const start = sub('start', 'Start networks.')
    .argument('<networks...>', 'their names or uuids')
    .action((names: string[]) =>
      changeEach(context, kind, names, 'is started', (networks, name, signal) =>
        networks.start(name, { signal }),
      ),
    )
  const stop = sub('stop', 'Take networks away until their next start.')
    .alias('destroy')
    .argument('<networks...>', 'their names or uuids')
    .option('-f, --force', 'also while guests are on them: they are cut off')
    .action((names: string[], { force = false }: { force?: boolean }) =>
      changeEach(context, kind, names, 'is stopped', (networks, name, signal) =>
        networks.destroy(name, { force, signal }),
      ),
    )
  const remove = sub('remove', 'Forget networks, and the addresses that were kept for their guests.')
    .alias('rm')
    .alias('undefine')
    .argument('<networks...>', 'their names or uuids')
    .action((names: string[]) =>
      changeEach(context, kind, names, 'is removed', (networks, name, signal) =>
        networks.undefine(name, { signal }),
      ),
    )
  const autostart = sub('autostart', 'Start a network with the host, or no longer.')
    .argument('<network>', 'its name or uuid')
    .option('--disable', 'no longer')
    .action((name: string, { disable = false }: { disable?: boolean }) =>
      changeEach(
        context,
        kind,
        [name],
        disable ? 'no longer starts by itself' : 'starts with the host',
        (networks, one, signal) => networks.setAutostart(one, { enabled: !disable, signal }),
      ),
    )
  const update = sub('update', 'Change a part of a network while machines are on it.')
    .argument('<network>', 'its name or uuid')
    .addArgument(new Argument('<command>', 'how').choices([...networkChanges, 'add']))
    .addArgument(new Argument('<section>', 'which part').choices(networkSections))
    .argument('<xml>', 'the element as XML, or a file with it')
    .option('--parent-index <n>', 'which of its addresses it is of, from 0')
    .option('--live', 'what is there now; so without either, when it is active')
    .option('--config', 'the definition for its next start; with --live, both')
    .action((name: string, how: string, section: NetworkSection, xml: string, flags: UpdateFlags) =>
      updateNetwork(context, name, { how, section, xml }, flags),
    )
  const edit = addEdit(command, context, kind, 'it counts from its next start on')
  const explain = sub('explain', 'Follow a packet of a machine, and say what stops it.')
    .argument('<domain>', 'name or uuid of the machine')
    .argument(
      '<target>',
      "whom: an address, a machine, 'host' or a name, and perhaps a port: web:80, 192.0.2.1:53/udp",
    )
    .action((domain: string, target: string) => explainPath(context, domain, target))
  const leases = sub('leases', 'List the addresses that a network has given.')
    .argument('<network>', 'its name or uuid')
    .action((name: string) => listLeases(context, name))
  const resolve = sub('resolve', 'Say who has a name or an address on the networks of this host.')
    .argument('<name>', "a name, whole or of a machine alone, or an address: 'web.lab.visor', 'web'")
    .action((name: string) => resolveName(context, name))
  addExamples(command, [['visor network list', 'what there is']])
  addExamples(list, [['visor network list', 'what there is']])
  addExamples(create, [
    ['visor network create lab', 'behind this host, with addresses that are free'],
    ['visor network create db --mode internal --subnet 10.9.0.0/24', 'its guests, and nobody else'],
    ['visor network create lan --mode bridge --bridge br0', 'on the LAN that the bridge br0 is on'],
  ])
  addExamples(define, [['visor network define lab.xml', 'what virsh net-dumpxml printed']])
  addExamples(edit, [['EDITOR=nano visor network edit lab', 'as XML, in nano']])
  addExamples(update, [
    [
      `visor network update lab add-last ip-dhcp-host "<host mac='52:54:00:00:00:01' ip='10.5.0.9'/>" --live --config`,
      'an address that is kept',
    ],
    [`visor network update lab delete dns-host "<host ip='10.5.0.9'/>"`, 'a name less'],
  ])
  addExamples(explain, [
    ['visor network explain web 192.0.2.1', 'why does it not get out'],
    ['visor network explain web db:5432', 'why does it not reach its neighbour'],
    ['visor network explain web host:53/udp', 'why does this host not answer'],
  ])
  addExamples(show, [['visor network show default --xml', 'what virsh net-dumpxml prints']])
  addExamples(start, [['visor network start lab', 'bridge, addresses, DHCP and DNS']])
  addExamples(stop, [['visor network stop lab', 'refused while guests are on it']])
  addExamples(remove, [['visor network remove lab', 'once it is stopped']])
  addExamples(autostart, [['visor network autostart lab', 'from the next start of the host on']])
  addExamples(resolve, [
    ['visor network resolve web.default.visor', 'its addresses'],
    ['visor network resolve web -q', 'the first of them, for scripts'],
    ['visor network resolve 192.168.122.2', 'whose address it is'],
  ])
  addExamples(leases, [['visor network leases default', 'who has which address']])
}

async function listNetworks({ connected, output }: Context): Promise<void> {
  const networks = await connected((connection) => connection.networks.list())
  const { colours, columns } = output
  output.print(networks, () => {
    if (output.quiet) return networks.map(({ name }) => `${name}\n`).join('')
    if (networks.length === 0) output.note("No networks: 'visor network create NAME' makes one.")
    if (networks.length === 0) return ''
    return formatTable<Network>(
      [
        { title: 'name', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 10 },
        {
          title: 'state',
          value: ({ active, message }) => (active ? (message ? 'faulty' : 'active') : 'off'),
        },
        { title: 'mode', value: ({ mode }) => mode },
        { title: 'subnets', value: ({ subnets }) => subnets.join(' ') },
        { title: 'bridge', value: ({ bridge = '' }) => bridge },
        { title: 'guests', value: ({ guests }) => String(guests), align: 'right' },
        { title: 'autostart', value: ({ autostart }) => (autostart ? 'yes' : 'no') },
      ],
      networks,
      { width: columns, styleTitle: colours.dim },
    )
  })
}

async function createNetwork(context: Context, name: string, flags: NewNetworkFlags): Promise<void> {
  const { connected, output, signal } = context
  const network = await connected(async (connection) => {
    const { networks } = connection
    const definition = await buildNetwork(connection, name, flags)
    const { uuid } = await networks.define(definition, { ifNoneMatch: '*', signal })
    try {
      await networks.start(uuid, { signal })
    } catch (error) {
      // Asked for as one thing, it is there as a whole or not at all.
      await networks.undefine(uuid).catch(() => {})
      throw error
    }
    await networks.setAutostart(uuid, { enabled: true, signal })
    return networks.get(uuid)
  })
  output.print(network, () => (output.quiet ? `${network.name}\n` : ''))
  const where = joinWords([network.subnets.join(' '), network.bridge && `bridge ${network.bridge}`])
  output.note(`${output.noteColours.green('✓')} network ${safe(name)} is there: ${network.mode}, ${where}`)
}

interface UpdateFlags {
  readonly parentIndex?: string
  readonly live?: true
  readonly config?: true
}

async function updateNetwork(
  { connected, output, signal }: Context,
  name: string,
  { how, section, xml }: { readonly how: string; readonly section: NetworkSection; readonly xml: string },
  { parentIndex, live, config }: UpdateFlags,
): Promise<void> {
  const text = xml.trimStart().startsWith('<') ? xml : (await loadText(xml)).text
  const command = networkChanges.find((one) => one === how) ?? 'add-last'
  await connected(({ networks }) =>
    networks.update(name, {
      ...{ command, section, element: parseNetworkElement(section, text), signal },
      ...(parentIndex === undefined ? {} : { parentIndex: parseCount(parentIndex, 'The index', 0, 31) }),
      ...(live && { live }),
      ...(config && { config }),
    }),
  )
  output.note(`${output.noteColours.green('✓')} network ${safe(name)} is changed`)
}

interface ShowFlags {
  readonly xml?: true
  readonly yaml?: true
  readonly inactive?: true
}

async function showNetwork({ connected, output }: Context, name: string, flags: ShowFlags): Promise<void> {
  const { network, definition, ports } = await connected(async ({ networks }) => ({
    network: await networks.get(name),
    definition: await networks.describe(name, flags.inactive ? { inactive: true } : {}),
    ports: await networks.ports(name),
  }))
  if (flags.xml || flags.yaml) {
    output.print(definition, () => formatNetworkDefinition(definition, flags.xml ? 'xml' : 'yaml'))
    return
  }
  const { colours } = output
  const dhcp = definition.addresses.flatMap(
    (one) => one.dhcp?.ranges.map(({ start, end }) => `${start} - ${end}`) ?? [],
  )
  output.print({ ...network, definition, ports }, () =>
    [
      `${colours.bold(safe(network.name) ?? '')}  ${network.active ? 'active' : 'off'}\n`,
      formatSection(colours, '', [
        ['title', safe(network.title)],
        ['mode', networkMode(definition)],
        ['bridge', network.bridge],
        ['subnets', network.subnets.join(' ')],
        ['host', definition.addresses.map(({ address }) => address).join(' ')],
        ['DHCP', dhcp.join(', ')],
        ['domain', network.domain],
        ['through', definition.forward?.dev],
        ['autostart', network.autostart ? 'yes' : 'no'],
        ['uuid', network.uuid],
        ['problem', safe(network.message)],
      ]),
      ports.length === 0 ? '' : `\n${formatPorts(ports, output)}`,
    ].join(''),
  )
}

function formatPorts(ports: readonly NetworkPort[], { colours, columns }: Context['output']): string {
  return formatTable<NetworkPort>(
    [
      { title: 'guest', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 10 },
      { title: 'address', value: ({ addresses }) => addresses.join(' ') },
      { title: 'mac', value: ({ mac }) => mac },
      { title: 'link', value: ({ link }) => link },
    ],
    ports,
    { width: columns, styleTitle: colours.dim },
  )
}

async function resolveName({ connected, output }: Context, name: string): Promise<void> {
  const found = await connected(({ networks }) => networks.resolve({ name }))
  const isAddress = parseIp(name) !== undefined
  const { colours, columns } = output
  output.print(found, () => {
    const [first] = found
    if (output.quiet) return `${(isAddress ? first?.name : first?.addresses[0]) ?? ''}\n`
    return formatTable<GuestName>(
      [
        { title: 'name', value: (one) => one.name, style: (text) => colours.bold(text), shrinkTo: 10 },
        { title: 'address', value: ({ addresses }) => addresses.join(' ') },
        { title: 'network', value: ({ network }) => network, shrinkTo: 8 },
        { title: 'machine', value: ({ guest = '' }) => safe(guest) ?? '', shrinkTo: 8 },
      ],
      found,
      { width: columns, styleTitle: colours.dim },
    )
  })
}

async function listLeases({ connected, output }: Context, name: string): Promise<void> {
  const leases = await connected(({ networks }) => networks.leases(name))
  const { colours, columns } = output
  output.print(leases, () => {
    if (leases.length === 0) output.note(`Network ${safe(name)} has given no address.`)
    if (leases.length === 0) return ''
    return formatTable<NetworkLease>(
      [
        {
          title: 'address',
          value: ({ address, prefix }) => `${address}/${prefix}`,
          style: (text) => colours.bold(text),
        },
        { title: 'name', value: ({ hostname = '' }) => hostname, shrinkTo: 10 },
        { title: 'mac', value: ({ mac = '' }) => mac },
        { title: 'until', value: ({ expiresAt }) => expiresAt?.replace(/\.\d+Z$/u, 'Z') ?? 'for ever' },
      ],
      leases,
      { width: columns, styleTitle: colours.dim },
    )
  })
}
