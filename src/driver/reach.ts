/** How guests of all drivers are reached: what is asked of networks, drivers and their agents, as one answer. */
import {
  addressSources,
  type Domain,
  type Event,
  type Explanation,
  type GuestInterfaceAddress,
  parseIp,
  type Readiness,
  VisorError,
} from '../model/index.ts'
import type { Connection } from './connection.ts'
import { merge } from './merge.ts'
import type { HostNetworks } from './parts/networks.ts'
import type { AddressOptions, ExplainOptions, Reach, WaitOptions } from './parts/reach.ts'

/** What became of a connection that was tried; what the other side said first, where that was asked for. */
export type Knock = (
  address: string,
  port: number,
  options: { readonly listen: boolean; readonly signal?: AbortSignal | undefined },
) => Promise<
  | { readonly answer: 'open'; readonly said: string }
  | { readonly answer: 'refused' | 'silent' | 'unreachable' }
>

export interface ReachContext {
  /** The driver of a domain. */
  readonly find: (uuid: string) => Promise<Connection>
  readonly networks?: HostNetworks | undefined
  readonly knock?: Knock | undefined
  readonly once: Once
}

/** Gives what is under way by this key already, else begins it: agents that do not answer are not asked in heaps. */
type Once = <T>(key: string, work: () => Promise<T>) => Promise<T>

function onceAtATime(): Once {
  const under = new Map<string, Promise<unknown>>()
  return <T>(key: string, work: () => Promise<T>) => {
    const before = under.get(key) as Promise<T> | undefined
    if (before) return before
    const now = work().finally(() => under.delete(key))
    under.set(key, now)
    return now
  }
}

/** An agent that is there answers sooner. */
const agentPatienceMs = 1500
/** What nobody tells of is asked again. */
const pollMs = 500

export function openReach(given: Omit<ReachContext, 'once'>): Reach {
  const context = { ...given, once: onceAtATime() }
  return {
    addresses: (domain, options) => findAddresses(context, domain, options),
    wait: (domain, options) => waitFor(context, domain, options),
    explain: (domain, options) => explain(context, domain, options),
  }
}

async function findAddresses(
  context: ReachContext,
  domain: string,
  { source }: AddressOptions = {},
): Promise<GuestInterfaceAddress[]> {
  const { find, networks } = context
  const connection = await find(domain)
  const definition = await connection.domains.describe(domain)
  const cards = definition.devices.interfaces.map(({ mac, target }) => ({ mac, link: target }))
  const asks = (one: (typeof addressSources)[number]) => source === undefined || source === one
  const [known = [], told] = await Promise.all([
    networks?.guests.addressesOf(domain, cards),
    asks('agent') ? askAgent(context, connection, domain) : [],
  ])
  const all = new Map<string, GuestInterfaceAddress>()
  for (const one of [...known, ...told]) {
    const key = `${one.mac ?? one.interface} ${one.address}`
    const before = all.get(key)
    const sources = addressSources.filter((name) => [before, one].some((who) => who?.sources.includes(name)))
    all.set(key, { ...one, ...before, sources })
  }
  const found = [...all.values()].filter(({ sources }) => source === undefined || sources.includes(source))
  return found.sort((a, b) => rank(a) - rank(b))
}

/** What others use first: IPv4, then IPv6, then what is only for the link. */
const rank = ({ family, address }: GuestInterfaceAddress) =>
  isReachable(address) ? (family === 'ipv4' ? 0 : 1) : 2

/** Whether others than the guest and its neighbours can use it. Source: RFC 3927, RFC 4291 (2.5.6). */
function isReachable(address: string): boolean {
  const parsed = parseIp(address)
  if (!parsed) return false
  return parsed.family === 'ipv4'
    ? parsed.value >> 16n !== 0xa9fen && parsed.value >> 24n !== 127n
    : parsed.value >> 118n !== 0x3fan && parsed.value !== 1n
}

async function askAgent(
  { once }: ReachContext,
  connection: Connection,
  domain: string,
): Promise<GuestInterfaceAddress[]> {
  const found = await soon(once(`interfaces ${domain}`, async () => connection.agent?.interfaces(domain)))
  return (found ?? []).flatMap(({ name, mac, addresses }) =>
    // The guest's own loopback is nobody's address.
    mac === undefined || mac === '00:00:00:00:00:00'
      ? []
      : addresses.map((one) => ({ interface: name, mac, ...one, sources: ['agent' as const] })),
  )
}

/** What it resolves to; undefined when it fails, or takes longer than is worth it. */
function soon<T>(work: Promise<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), agentPatienceMs)
    work.then(resolve, () => resolve(undefined)).finally(() => clearTimeout(timer))
  })
}

async function explain(
  context: ReachContext,
  domain: string,
  { target, port, proto = port === undefined ? 'icmp' : 'tcp' }: ExplainOptions,
): Promise<Explanation> {
  const { find, networks } = context
  const { domains } = await find(domain)
  const { name, state } = await domains.get(domain)
  const refuse = (message: string, remedy: string): Explanation => ({
    reached: false,
    steps: [{ name: 'guest', passed: false, message, remedy }],
  })
  if (state !== 'running')
    return refuse(`'${name}' does not run: it is ${state}.`, `Start it: 'visor start ${name}'.`)
  if (!networks)
    return refuse(
      'This visord has no networks of the host, so that packets cannot be followed.',
      'Run visord as root.',
    )
  const { devices } = await domains.describe(domain)
  const cards = devices.interfaces.map(({ mac, target: link, link: cable }) => ({
    ...{ mac, link, isUnplugged: cable === 'down' },
  }))
  const addresses = await findAddresses(context, domain)
  return networks.guests.explain({ domain, name, cards, addresses, target, proto, port })
}

async function waitFor(
  context: ReachContext,
  uuid: string,
  { for: condition, timeoutMs = 0, signal }: WaitOptions,
): Promise<Readiness> {
  const connection = await context.find(uuid)
  const ended = new AbortController()
  const stop = () => ended.abort()
  signal?.addEventListener('abort', stop, { once: true })
  const timer = setTimeout(stop, timeoutMs)
  const bell = ring(context, connection, uuid, ended.signal)
  try {
    for (;;) {
      const { name, state } = await connection.domains.get(uuid)
      const found =
        state === 'running'
          ? await look(context, connection, { uuid, name }, condition)
          : { reached: false, message: `'${name}' does not run: it is ${state}.` }
      if (found.reached || ended.signal.aborted) return { condition, ...found }
      await bell.next()
    }
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', stop)
    ended.abort()
  }
}

/** Resolves when something happened to a guest, and else after a while. */
function ring({ networks }: ReachContext, connection: Connection, uuid: string, signal: AbortSignal) {
  let wake: (() => void) | undefined
  let rung = false
  const isAbout = ({ uuid: about, data }: Event) =>
    about === uuid || (data as { domain?: unknown } | undefined)?.domain === uuid
  async function listen() {
    const sources = [connection, ...(networks ? [networks] : [])].map((source) => source.events({ signal }))
    for await (const event of merge(sources)) {
      if (!isAbout(event)) continue
      rung = true
      wake?.()
    }
  }
  listen().catch(() => {})
  return {
    next(): Promise<void> {
      if (rung || signal.aborted) {
        rung = false
        return Promise.resolve()
      }
      return new Promise((resolve) => {
        const done = () => {
          clearTimeout(timer)
          signal.removeEventListener('abort', done)
          rung = false
          resolve()
        }
        const timer = setTimeout(done, pollMs)
        wake = done
        signal.addEventListener('abort', done, { once: true })
      })
    },
  }
}

type Found = Omit<Readiness, 'condition'>

async function look(
  context: ReachContext,
  connection: Connection,
  { uuid, name }: Pick<Domain, 'uuid' | 'name'>,
  condition: string,
): Promise<Found> {
  if (condition === 'agent') return lookForAgent(context, connection, { uuid, name })
  if (condition === 'booted') {
    const agent = await lookForAgent(context, connection, { uuid, name })
    if (agent.reached) return agent
    const ip = lookForAddress(name, await findAddresses(context, uuid))
    return ip.reached ? ip : { ...ip, message: `${ip.message} ${agent.message}` }
  }
  const addresses = await findAddresses(context, uuid)
  if (condition === 'ip') return lookForAddress(name, addresses)
  const port = condition === 'ssh' ? 22 : Number(condition.slice('tcp:'.length))
  return lookForPort(context, { name, addresses, port, isSsh: condition === 'ssh' })
}

async function lookForAgent(
  { once }: ReachContext,
  connection: Connection,
  { uuid, name }: Pick<Domain, 'uuid' | 'name'>,
): Promise<Found> {
  const { agent } = connection
  if (!agent) return { reached: false, message: `Guests such as '${name}' have no agent.` }
  const info = once(`info ${uuid}`, async () => agent.info(uuid))
  const found = await soon(
    info.then(
      () => ({ reached: true, message: `The agent of '${name}' answers.` }),
      (error: unknown) => ({
        reached: false,
        message: error instanceof VisorError ? error.message : String(error),
      }),
    ),
  )
  return found ?? { reached: false, message: `The agent of '${name}' does not answer.` }
}

function lookForAddress(name: string, addresses: readonly GuestInterfaceAddress[]): Found {
  const taken = addresses.find(
    ({ address, sources }) => isReachable(address) && sources.some((source) => source !== 'reservation'),
  )
  if (taken)
    return {
      reached: true,
      address: taken.address,
      message: `'${name}' has ${taken.address}, as its ${taken.sources.map((one) => words[one]).join(', ')} says.`,
    }
  const [kept] = addresses.filter(({ sources }) => sources.includes('reservation'))
  const message = kept
    ? `'${name}' has not taken the address ${kept.address} that network '${kept.network}' keeps for it: it has not asked for it by DHCP yet.`
    : `Nobody knows an address of '${name}': no network of this host gave it one, it was not heard on a link, and no agent answers.`
  return { reached: false, message }
}

const words: Readonly<Record<(typeof addressSources)[number], string>> = {
  lease: 'lease',
  agent: 'agent',
  arp: 'neighbour table',
  reservation: 'reservation',
  inspect: 'container',
}

interface PortQuestion {
  readonly name: string
  readonly addresses: readonly GuestInterfaceAddress[]
  readonly port: number
  readonly isSsh: boolean
}

async function lookForPort(
  { knock }: ReachContext,
  { name, addresses, port, isSsh }: PortQuestion,
): Promise<Found> {
  const own = addresses.filter(({ address }) => isReachable(address))
  if (own.length === 0 || !knock) return lookForAddress(name, [])
  const tried = await Promise.all(
    own.map(async ({ address }) => ({ address, ...(await knock(address, port, { listen: isSsh })) })),
  )
  const open = tried.find((one) => one.answer === 'open' && (!isSsh || one.said.startsWith('SSH-')))
  if (open)
    return {
      ...{ reached: true, address: open.address },
      message: `'${name}' answers on ${open.address}, port ${port}.`,
    }
  const [first] = tried
  const where = `${first?.address}, port ${port}`
  const message = {
    open: `'${name}' takes connections on ${where}, but is no SSH server there.`,
    refused: `'${name}' is there (${first?.address}), but nothing listens on port ${port}.`,
    silent: `'${name}' does not answer on ${where}.`,
    unreachable: `This host finds no way to '${name}' at ${where}.`,
  }[first?.answer ?? 'silent']
  return { reached: false, message }
}
