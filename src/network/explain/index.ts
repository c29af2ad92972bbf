/** Follows the way of a packet from a guest, and names the first thing that stops it. */
import { lookup } from 'node:dns/promises'
import type { ExplainRequest } from '../../driver/index.ts'
import { knock } from '../../host/index.ts'
import {
  contains,
  type Explanation,
  networkMode,
  type PathStep,
  parseIp,
  subnetOfAddress,
  VisorError,
} from '../../model/index.ts'
import type { CompleteNetwork } from '../complete.ts'
import { hasOwnBridge } from '../complete.ts'
import { whoListens } from '../listeners.ts'
import type { LiveNetworks } from '../live.ts'
import type { NetworkPlaces } from '../places.ts'
import type { Port, Ports } from '../ports.ts'
import {
  addressesOn,
  answersOn,
  faultOfLink,
  faultOfPort,
  findWay,
  isIsolated,
  otherPorts,
  readSwitch,
} from './host-state.ts'
import { type Asked, frameOf, type Passage, readRuleset, stepOf, stopOfIp } from './rules-step.ts'
import { findStop, type Ruleset } from './ruleset.ts'

export interface ExplainContext {
  readonly places: NetworkPlaces
  readonly live: LiveNetworks
  readonly ports: Ports
}

/** Where the packet is for. */
type Target =
  | { readonly kind: 'guest'; readonly port: Port; readonly address: string }
  | { readonly kind: 'host' | 'elsewhere'; readonly address: string }

interface Path extends ExplainContext {
  readonly request: ExplainRequest
  readonly own: Port
  readonly definition: CompleteNetwork
  readonly bridge: string
  readonly target: Target
  readonly asked: Asked
  readonly ruleset: Ruleset
}

/** Fails with `not-found` when the target is nobody's name, `invalid-state` for a guest that is on no network. */
export async function explainPath(context: ExplainContext, request: ExplainRequest): Promise<Explanation> {
  const owns = context.ports.all().filter(({ domain }) => domain === request.domain)
  if (owns.length === 0)
    return finish({}, [
      stop(
        'card',
        `'${request.name}' is on no network of this host, so that its packets cannot be followed.`,
        "Give it a card on a network: 'visor attach-interface NAME network default'.",
      ),
    ])
  const target = await findTarget(context, request, owns)
  const own = chooseCard(context, owns, target)
  const definition = context.live.get(own.uuid)?.definition
  if (!definition)
    return finish({}, [
      stop(
        'bridge',
        `Network '${own.network}' is not active.`,
        `Start it: 'visor network start ${own.network}'.`,
      ),
    ])
  const from = sourceOf(request, own, target.address)
  const path: Path = {
    ...{ ...context, request, own, definition, bridge: definition.bridge ?? '', target },
    asked: { from: from ?? '', to: target.address, proto: request.proto, port: request.port },
    ruleset: await readRuleset(),
  }
  const steps: PathStep[] = []
  for await (const step of follow(path, from)) {
    steps.push(step)
    if (!step.passed) break
  }
  return finish({ ...(from === undefined ? {} : { from }), to: target.address }, steps)
}

const finish = (ends: Pick<Explanation, 'from' | 'to'>, steps: readonly PathStep[]): Explanation => ({
  ...{ ...ends, steps: [...steps], reached: steps.every(({ passed }) => passed) },
})

const pass = (name: PathStep['name'], message: string): PathStep => ({ name, passed: true, message })
const stop = (name: PathStep['name'], message: string, remedy: string): PathStep => ({
  ...{ name, passed: false, message, remedy },
})

async function findTarget(
  { ports }: ExplainContext,
  { target, name }: ExplainRequest,
  owns: readonly Port[],
): Promise<Target> {
  const parsed = parseIp(target)
  const guests = ports.all()
  if (!parsed) {
    const named = guests.filter((port) => port.name === target || port.domain === target)
    const near = named.find(({ uuid }) => owns.some((own) => own.uuid === uuid)) ?? named[0]
    const address = near?.addresses[0]
    if (near && address !== undefined) return { kind: 'guest', port: near, address }
    if (near)
      throw new VisorError('invalid-state', `It is not known which address '${target}' has.`, {
        remedy: `Name its address: 'visor network explain ${name} ADDRESS'.`,
      })
  }
  const address = parsed ? target : await resolveName(target, owns)
  const port = guests.find(({ addresses }) => addresses.includes(address))
  if (port) return { kind: 'guest', port, address }
  return { kind: (await addressesOn()).includes(address) ? 'host' : 'elsewhere', address }
}

async function resolveName(target: string, [own]: readonly Port[]): Promise<string> {
  if (target === 'host') {
    const family = own?.addresses[0]?.includes(':') ? ':' : '.'
    const found = (await addressesOn()).find((one) => one.includes(family) && !one.startsWith('127.'))
    if (found !== undefined) return found
  }
  const found = await lookup(target).catch(() => undefined)
  if (found) return found.address
  throw new VisorError(
    'not-found',
    `'${target}' is no address, no guest on a network of this host, and no name.`,
  )
}

const subnetsOf = ({ addresses }: CompleteNetwork) =>
  addresses.map(subnetOfAddress).filter((subnet) => subnet !== undefined)

/** The card that the guest itself would send by. */
function chooseCard({ live }: ExplainContext, owns: readonly Port[], target: Target): Port {
  const address = parseIp(target.address)
  const isNear = ({ uuid }: Port) => {
    const definition = live.get(uuid)?.definition
    return definition && address && subnetsOf(definition).some((subnet) => contains(subnet, address))
  }
  const leadsOut = ({ uuid }: Port) =>
    !['isolated', 'internal', 'vxlan'].includes(networkMode(live.get(uuid)?.definition ?? {}))
  const [first] = owns
  const found =
    owns.find(({ uuid }) => target.kind === 'guest' && target.port.uuid === uuid) ??
    owns.find(isNear) ??
    owns.find(leadsOut) ??
    first
  if (!found) throw new TypeError('a guest without cards')
  return found
}

/** The address that the guest really has, as far as anybody knows. */
function sourceOf({ addresses }: ExplainRequest, own: Port, to: string): string | undefined {
  const family = parseIp(to)?.family
  const mine = addresses.filter((one) => one.mac === own.mac && one.family === family)
  for (const source of ['agent', 'lease', 'arp', 'reservation'] as const) {
    const found = mine.find(({ address, sources }) => sources.includes(source) && !address.startsWith('fe80'))
    if (found) return found.address
  }
  return undefined
}

async function* follow(path: Path, from: string | undefined): AsyncGenerator<PathStep> {
  const { own, bridge, target } = path
  yield* followCard(path)
  yield* followAddress(path, from)
  if (bridge === '')
    return yield pass(
      'mode',
      `The card is on a link of the host directly: what is there is not seen from here.`,
    )
  yield* followSenders(path)
  const isNear = target.kind === 'guest' && target.port.uuid === own.uuid
  if (isNear) yield* followNear(path, target.port)
  else if (!hasOwnBridge(path.definition)) yield* followLan(path)
  else if (target.kind === 'host') yield* followToHost(path)
  else yield* followOut(path)
}

async function* followCard({ request, own, bridge, definition }: Path): AsyncGenerator<PathStep> {
  const card = request.cards.find(({ mac }) => mac === own.mac)
  if (card?.isUnplugged)
    yield stop(
      'card',
      `The cable of the card ${own.mac} is unplugged (its link is down).`,
      `Plug it in: 'visor domif-setlink ${request.name} ${own.mac} up'.`,
    )
  yield pass('card', `The card ${own.mac} is on network '${own.network}' (${networkMode(definition)}).`)
  if (bridge === '') return
  const fault = await faultOfPort(own.link, bridge)
  if (fault) yield fault
  yield pass('port', `Its link '${own.link}' is on and forwards, on bridge '${bridge}'.`)
  const broken = await faultOfLink(bridge)
  if (broken)
    yield stop(
      'bridge',
      `Packets do not pass the bridge '${bridge}': ${broken}.`,
      `'ip link set ${bridge} up'.`,
    )
}

async function* followAddress(
  { request, own, definition, asked, live }: Path,
  from: string | undefined,
): AsyncGenerator<PathStep> {
  const family = parseIp(asked.to)?.family ?? 'ipv4'
  const { name } = request
  const known = request.addresses.filter((one) => one.mac === own.mac && one.address === from)
  const isTaken = known.some(({ sources }) => sources.some((source) => source !== 'reservation'))
  if (isTaken) return yield pass('address', `'${name}' has the address ${from}.`)
  const subnet = subnetsOf(definition).find((one) => one.family === family)
  if (hasOwnBridge(definition) && !subnet)
    return yield stop(
      'address',
      `Network '${own.network}' has no ${family === 'ipv4' ? 'IPv4' : 'IPv6'}, by which ${asked.to} is reached.`,
      'Give the network an address of that family, or use another target.',
    )
  if (from === undefined)
    return yield pass('address', `Which address '${name}' has is not known here: nobody gave it one.`)
  const problem = live.get(own.uuid)?.message
  yield stop(
    'address',
    `'${name}' has not taken its address ${from}: ${problem ?? 'it has not asked for it by DHCP, and was not heard with it'}.`,
    problem
      ? `Restart the network: 'visor network stop ${own.network}', 'visor network start ${own.network}'.`
      : 'See that the guest asks by DHCP on this card, or give it the address by hand.',
  )
}

/** Rules of bridges, visor's protection against false senders among them. */
async function* followSenders(path: Path): AsyncGenerator<PathStep> {
  const { own, asked, ruleset, places, bridge, definition } = path
  if (asked.from === '') return
  const found = findStop(ruleset, 'prerouting', ['bridge', 'netdev'], frameOf(asked, own))
  if (found)
    yield await stepOf(found, ruleset, {
      ...{ own: places.table, bridge: own.link, side: 'iifname', name: 'senders', filtered: own },
      ours: {
        message: `'${own.name}' sends from ${asked.from}, which is not its address on network '${own.network}' (${own.addresses.join(', ')}): it is taken for somebody else.`,
        remedy:
          "Give it its own address, by DHCP; or let guests of the network send as whom they like (trustGuestRxFilters='yes').",
      },
    })
  const isOurs = hasOwnBridge(definition) && networkMode(definition) !== 'open'
  if (isOurs && !ruleset.chains.some(({ table }) => table === places.table))
    yield stop(
      'rules',
      `visor's rules for bridge '${bridge}' are not in force: somebody has removed its tables.`,
      "Restart visord, which writes them anew; 'nft flush ruleset' of another program's start removes them.",
    )
}

async function* followNear(path: Path, port: Port): AsyncGenerator<PathStep> {
  const { own, bridge, ruleset, asked } = path
  const isolated = await Promise.all([own.link, port.link].map(isIsolated))
  if (isolated.every(Boolean))
    yield stop(
      'mode',
      `Guests of network '${own.network}' are kept apart (isolated).`,
      'Take that away from the network or its port group, and restart the guests.',
    )
  yield* followTargetPort(path, port)
  const found = findStop(ruleset, 'forward', ['bridge'], { ...frameOf(asked, own), oifname: port.link })
  if (found) yield await stepOf(found, ruleset, blame(path, 'iifname', own.link))
  const last = { ...frameOf(asked, own), oifname: port.link }
  const refused = findStop(ruleset, 'postrouting', ['bridge'], last)
  if (refused) yield await stepOf(refused, ruleset, { ...blame(path, 'oifname', port.link), filtered: port })
  // The kernel may ask the rules of IP about what bridges forward.
  const word = parseIp(asked.to)?.family === 'ipv6' ? 'ip6tables' : 'iptables'
  if ((await readSwitch(`bridge/bridge-nf-call-${word}`)) === '1')
    yield* followRules(path, { hook: 'forward', iif: bridge, oif: bridge }, 'iifname')
  yield* followService(path)
}

async function* followTargetPort({ live, asked }: Path, port: Port): AsyncGenerator<PathStep> {
  const { bridge = '' } = live.get(port.uuid)?.definition ?? {}
  const fault = bridge === '' ? undefined : await faultOfPort(port.link, bridge)
  if (fault) yield { ...fault, name: 'target', message: `At '${port.name}': ${fault.message}` }
  yield pass('target', `'${port.name}' is on network '${port.network}' with ${asked.to}.`)
}

/** On a bridge that is the host's own. */
async function* followLan(path: Path): AsyncGenerator<PathStep> {
  const { bridge, target, ports, own } = path
  if (target.kind === 'host') return yield* followToHost(path)
  const others = await otherPorts(bridge, new Set(ports.all().map(({ link }) => link)))
  if (others.length === 0)
    yield stop(
      'way out',
      `Nothing but guests is on the bridge '${bridge}': it leads nowhere.`,
      `Put a network card of the host on it: 'ip link set NIC master ${bridge}'.`,
    )
  if (others.every(({ fault }) => fault !== undefined))
    yield stop(
      'way out',
      `The bridge '${bridge}' leads out by ${others.map(({ name, fault }) => `'${name}', but ${fault}`).join('; ')}.`,
      'Plug its cable in, and turn it on.',
    )
  const word = parseIp(path.asked.to)?.family === 'ipv6' ? 'ip6tables' : 'iptables'
  if ((await readSwitch(`bridge/bridge-nf-call-${word}`)) === '1')
    yield* followRules(path, { hook: 'forward', iif: bridge, oif: bridge }, 'iifname')
  yield pass('way out', `It leaves by ${others.map(({ name }) => `'${name}'`).join(', ')}, for the LAN.`)
  if (
    target.kind === 'elsewhere' &&
    (await addressesOn(bridge)).length > 0 &&
    !(await answersOn(bridge, own.mac))
  )
    yield* followService(path)
}

async function* followToHost(path: Path): AsyncGenerator<PathStep> {
  const { definition, own, bridge, asked, target } = path
  if (isClosed(definition))
    return yield stop(
      'mode',
      `Network '${own.network}' is '${networkMode(definition)}': this host is not on it.`,
      "Use a network of mode 'isolated', where the host is, or 'nat'.",
    )
  yield* followRules(path, { hook: 'prerouting', iif: bridge, isLocal: true }, 'iifname')
  yield* followRules(path, { hook: 'input', iif: bridge, isLocal: true }, 'iifname')
  const { proto, port } = asked
  if (port === undefined || proto === 'icmp') return
  const listener = await whoListens({ proto, address: target.address, start: port, end: port })
  if (!listener)
    yield stop(
      'target',
      `Nothing on this host listens on ${target.address}, port ${port}/${proto}.`,
      `Start what shall answer, and let it listen on ${target.address}: 'ss -ln' shows where programs listen.`,
    )
  yield pass('target', `'${listener?.program ?? 'A program'}' of this host listens there.`)
}

const isClosed = (definition: CompleteNetwork) => ['internal', 'vxlan'].includes(networkMode(definition))

async function* followOut(path: Path): AsyncGenerator<PathStep> {
  const { definition, own, bridge, asked, target } = path
  const mode = networkMode(definition)
  if (isClosed(definition) || mode === 'isolated')
    return yield stop(
      'mode',
      `Network '${own.network}' is '${mode}': nothing leads out of it.`,
      "Use a network of mode 'nat' or 'route', or give the guest a second card on one.",
    )
  yield* followForwarding(path)
  const way = await findWay(asked.from, asked.to, bridge)
  if (typeof way === 'string')
    return yield stop(
      'route',
      `This host knows no way to ${asked.to}: ${way}.`,
      "Give it a route ('ip route add'), such as a default route by its router.",
    )
  const { dev, gateway } = way
  yield pass('route', `This host sends it by '${dev}'${gateway === undefined ? '' : `, to ${gateway}`}.`)
  const only = definition.forward?.dev
  if (only !== undefined && only !== dev)
    yield stop(
      'mode',
      `Network '${own.network}' leads out only by '${only}', but the way to ${asked.to} is by '${dev}'.`,
      "Change 'forward.dev' of the network, or the route.",
    )
  const fault = await faultOfLink(dev)
  if (fault)
    yield stop(
      'way out',
      `It would leave by '${dev}', but ${fault}.`,
      `Turn it on, and plug it in: 'ip link set ${dev} up'.`,
    )
  yield* followRules(path, { hook: 'prerouting', iif: bridge }, 'iifname')
  yield* followRules(path, { hook: 'forward', iif: bridge, oif: dev }, 'iifname')
  yield* followTranslation(path)
  if (target.kind === 'guest') yield* followTargetPort(path, target.port)
  else if (!(await answersOn(dev, gateway ?? asked.to)))
    yield stop(
      'way out',
      `${gateway === undefined ? asked.to : `The router ${gateway}`} does not answer on '${dev}'.`,
      'See that it is on, and that the cable leads there.',
    )
  yield* followRules(path, { hook: 'forward', iif: dev, oif: bridge, isReply: true }, 'oifname')
  yield* followService(path)
}

async function* followForwarding({ asked, bridge }: Path): AsyncGenerator<PathStep> {
  const isV4 = parseIp(asked.to)?.family !== 'ipv6'
  const names = isV4
    ? ['ipv4/ip_forward', `ipv4/conf/${bridge}/forwarding`]
    : ['ipv6/conf/all/forwarding', `ipv6/conf/${bridge}/forwarding`]
  for (const name of names)
    if ((await readSwitch(name)) === '0') {
      const dotted = `net.${name.replaceAll('/', '.')}`
      return yield stop(
        'forwarding',
        `This host does not forward packets: ${dotted} is 0.`,
        `'sysctl ${dotted}=1'; and see what turned it off ('grep -r forward /etc/sysctl*').`,
      )
    }
  yield pass('forwarding', 'This host forwards packets.')
}

async function* followTranslation({ definition, asked, ruleset, places }: Path): AsyncGenerator<PathStep> {
  const isV4 = parseIp(asked.to)?.family !== 'ipv6'
  if (networkMode(definition) !== 'nat') return
  if (!isV4 && definition.forward?.nat?.ipv6 !== true)
    return yield pass(
      'translation',
      `It leaves as ${asked.from}: who answers needs a way back to it. (nat ipv6='yes' sends it as this host.)`,
    )
  const chain = ruleset.chains.find(({ table, name }) => table === places.table && name === 'postrouting')
  if (!chain || chain.rules.length === 0)
    yield stop(
      'translation',
      "visor's rules that send it as this host are not in force.",
      'Restart visord, which writes them anew.',
    )
  yield pass('translation', 'It leaves as this host (NAT).')
}

async function* followRules(
  path: Path,
  passage: Passage,
  side: 'iifname' | 'oifname',
): AsyncGenerator<PathStep> {
  const { ruleset, asked, bridge } = path
  const found = stopOfIp(ruleset, asked, passage)
  if (found)
    return yield await stepOf(found, ruleset, {
      ...blame(path, side, bridge),
      ...(passage.isReply ? { name: 'way back' } : {}),
    })
  if (passage.isReply) yield pass('way back', 'Answers pass the rules of this host.')
  else if (passage.hook !== 'prerouting') yield pass('rules', 'The rules of this host let it pass.')
}

function blame({ places, own, target, definition }: Path, side: 'iifname' | 'oifname', bridge: string) {
  const name: PathStep['name'] = 'rules'
  const isGuest = target.kind === 'guest' && target.port.uuid !== own.uuid
  return {
    ...{ own: places.table, bridge, side, name },
    ours: isGuest
      ? {
          message: `Network '${target.port.network}' lets in nobody from other networks.`,
          remedy: `Publish the port ('visor publish ${target.port.name} PORT') and use an address of this host, or put both guests on one network.`,
        }
      : {
          message: `visor's rules for network '${own.network}' (${networkMode(definition)}) do not let it pass.`,
          remedy: 'Use a network of another mode: see docs/networks.md for who reaches whom.',
        },
  }
}

/** Whether somebody answers, as this host itself finds. */
async function* followService({ asked, request }: Path): AsyncGenerator<PathStep> {
  const { proto, port, to } = asked
  if (proto !== 'tcp' || port === undefined) return
  const { answer } = await knock(to, port, { listen: false })
  if (answer === 'refused')
    yield stop(
      'target',
      `${to} is there, but nothing listens on port ${port}.`,
      `Start what shall answer there, and let it listen on ${to}, not on its loopback only.`,
    )
  else if (answer !== 'open')
    yield stop(
      'target',
      `Nothing on this host stops it, but ${to} does not answer on port ${port}, nor to this host.`,
      `See the firewall of ${to} itself, and that ${request.name} is not the only one without an answer.`,
    )
  else yield pass('target', `${to} answers on port ${port}.`)
}
