/** What the rules of the host, ours and those of others, do to a packet, and what to do about it. */
import { run, runChecked } from '../../host/index.ts'
import { type PathStep, parseIp } from '../../model/index.ts'
import { filterTable } from '../filters/script.ts'
import { findStop, type Packet, parseRuleset, type Ruleset, type Stop } from './ruleset.ts'

export interface Asked {
  readonly from: string
  readonly to: string
  readonly proto: 'tcp' | 'udp' | 'icmp'
  readonly port?: number | undefined
}

export interface Passage {
  readonly hook: 'prerouting' | 'input' | 'forward'
  readonly iif?: string
  readonly oif?: string
  /** Whether it is an answer. */
  readonly isReply?: boolean
  readonly isLocal?: boolean
}

export async function readRuleset(): Promise<Ruleset> {
  return parseRuleset((await runChecked('nft', ['-j', 'list', 'ruleset'], { timeoutMs: 20_000 })).stdout)
}

/** The packet as rules of IP see it. */
export function packetOf({ from, to, proto, port }: Asked, passage: Passage): Packet {
  const { iif, oif, isReply = false, isLocal = false } = passage
  const family = parseIp(to)?.family ?? 'ipv4'
  const [word, other] = family === 'ipv4' ? ['ip', 'ip6'] : ['ip6', 'ip']
  const l4 = proto === 'icmp' && family === 'ipv6' ? 'ipv6-icmp' : proto
  const number = port === undefined ? undefined : String(port)
  const near = isReply ? 'sport' : 'dport'
  const ports = (['tcp', 'udp', 'th'] as const).flatMap((name) =>
    ['sport', 'dport'].map((side) => {
      const has = proto !== 'icmp' && (name === 'th' || name === proto)
      return [`${name} ${side}`, has ? (side === near ? number : undefined) : ''] as const
    }),
  )
  const [source, target] = isReply ? [to, from] : [from, to]
  return {
    ...{ iifname: iif ?? '', oifname: oif ?? '', l4proto: l4, nfproto: family, protocol: word, mark: '0' },
    ...{ [`${word} saddr`]: source, [`${word} daddr`]: target, [`${word} protocol`]: l4 },
    ...{ 'ip6 nexthdr': family === 'ipv6' ? l4 : '', [`${other} saddr`]: '', [`${other} daddr`]: '' },
    ...{ 'ct state': isReply ? 'established' : 'new', 'ct status': '', 'ct mark': '0' },
    ...{ 'fib daddr type': isLocal ? 'local' : 'unicast', pkttype: 'host' },
    ...Object.fromEntries(ports),
  }
}

/** The packet as rules of bridges see it. */
export function frameOf(
  asked: Asked,
  { link, mac }: { readonly link: string; readonly mac: string },
): Packet {
  const isV4 = parseIp(asked.to)?.family !== 'ipv6'
  return {
    ...packetOf(asked, { hook: 'prerouting', iif: link }),
    ...{
      'ether saddr': mac,
      'ether type': isV4 ? 'ip' : 'ip6',
      'arp saddr ip': '',
      'ether daddr': undefined,
    },
  }
}

/** What stops it at a hook of IP. */
export function stopOfIp(ruleset: Ruleset, asked: Asked, passage: Passage): Stop | undefined {
  const families = ['inet', parseIp(asked.to)?.family === 'ipv6' ? 'ip6' : 'ip']
  return findStop(ruleset, passage.hook, families, packetOf(asked, passage))
}

export interface Blame {
  /** The table of visor's own rules. */
  readonly own: string
  readonly bridge: string
  /** The bridge's side that the packet is on there. */
  readonly side: 'iifname' | 'oifname'
  /** What visor's own rules mean by it. */
  readonly ours: { readonly message: string; readonly remedy: string }
  readonly name: PathStep['name']
  /** Whose filter it may be, and which. */
  readonly filtered?: { readonly name: string; readonly filter?: string | undefined }
}

/** The step of who stopped it, in words. */
export async function stepOf(stop: Stop, ruleset: Ruleset, blame: Blame): Promise<PathStep> {
  const { chain, handle, verdict, unsure } = stop
  const { own, name } = blame
  if (chain.table === own) return { name, passed: false, ...blame.ours }
  const text = handle === undefined ? undefined : await textOf(stop)
  if (chain.table === filterTable(own)) {
    const { filter = '', name: guest = '' } = blame.filtered ?? {}
    return {
      ...{ name, passed: false },
      message: `The filter '${filter}' of '${guest}' does not let it pass: '${text ?? chain.name}'.`,
      remedy: `Give it a rule that accepts such packets: 'visor nwfilter edit ${filter}'.`,
    }
  }
  const rule = text === undefined ? 'whose policy is to drop' : `by its rule '${text}'`
  const doubt = unsure ? ', unless a rule before it that cannot be judged here lets it pass' : ''
  return {
    ...{ name, passed: false },
    message: `The packet is ${verdict === 'drop' ? 'dropped' : 'rejected'} in chain '${chain.name}' of table '${chain.family} ${chain.table}', ${rule}${doubt}.`,
    remedy: remedyOf(stop, ruleset, blame),
  }
}

async function textOf({ chain, handle }: Stop): Promise<string | undefined> {
  const { stdout } = await run('nft', ['-a', 'list', 'chain', chain.family, chain.table, chain.name], {
    timeoutMs: 10_000,
  })
  const line = stdout.split('\n').find((one) => one.endsWith(`# handle ${handle}`))
  return line?.replace(/\s*# handle \d+$/u, '').trim()
}

/** Whose rules they are is seen by the names of their chains; each has a place of its own for exceptions. */
function remedyOf({ chain }: Stop, { chains }: Ruleset, { bridge, side }: Blame): string {
  const beside = chains.filter(({ family, table }) => family === chain.family && table === chain.table)
  const has = (pattern: RegExp) => beside.some(({ name }) => pattern.test(name))
  const [flag, way] = side === 'iifname' ? ['-i', 'in'] : ['-o', 'out']
  const tool = chain.family === 'ip6' ? 'ip6tables' : 'iptables'
  if (chain.table === 'firewalld')
    return `firewalld drops it: 'firewall-cmd --permanent --zone=trusted --add-interface=${bridge}' and 'firewall-cmd --reload'.`
  if (has(/^ufw6?-/u)) return `ufw drops it: 'ufw route allow ${way} on ${bridge}'.`
  if (has(/^DOCKER-USER$/u))
    return `Docker drops what it does not know: '${tool} -I DOCKER-USER ${flag} ${bridge} -j ACCEPT'.`
  return `Let it pass there: 'nft insert rule ${chain.family} ${chain.table} ${chain.name} ${side} "${bridge}" accept'.`
}
