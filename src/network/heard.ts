/**
 * Addresses of guests on bridges of the LAN, whose DHCP is not ours: the kernel remembers whom each port says it is
 * when it asks for others (ARP, RFC 826) or they for it (RFC 4861). Source: nft(8), sets with a timeout.
 */
import { run } from '../host/index.ts'
import { networkMode, VisorError } from '../model/index.ts'
import { nft } from './commands.ts'
import type { CompleteNetwork } from './complete.ts'
import type { Neighbour } from './neighbours.ts'

/** Who is silent for so long may have another address. */
const timeout = '1h'
const most = 65_535

/** Whether addresses on the network are given by somebody else. */
export const isOfLan = (definition: CompleteNetwork): boolean =>
  networkMode(definition) === 'bridge' && definition.bridge !== undefined

const nameOf = (table: string) => `bridge ${table}-heard`

/** Listens on these ports and no others; takes all away where there are none. What was heard is kept. */
export async function listenOn(table: string, links: readonly string[]): Promise<void> {
  const name = nameOf(table)
  if (links.length === 0) return nft(`table ${name} {}\ndelete table ${name}\n`)
  const set = (family: 4 | 6) =>
    `  set heard${family} { type ifname . ether_addr . ipv${family}_addr; size ${most}; flags dynamic,timeout; timeout ${timeout}; }`
  const key = 'iifname . ether saddr'
  await nft(
    [
      `table ${name} {`,
      '  set listened { type ifname; }',
      ...[4 as const, 6 as const].map(set),
      // After what guards against false senders.
      '  chain listen { type filter hook prerouting priority -290; policy accept; }',
      '}',
      `flush chain ${name} listen`,
      `flush set ${name} listened`,
      `add element ${name} listened { ${links.map((link) => `"${link}"`).join(', ')} }`,
      `add rule ${name} listen iifname @listened ether type arp arp saddr ip != 0.0.0.0 update @heard4 { ${key} . arp saddr ip }`,
      `add rule ${name} listen iifname @listened icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 saddr != :: update @heard6 { ${key} . ip6 saddr }`,
      '',
    ].join('\n'),
  )
}

/** What was heard, by the port that said it; nothing where nobody listens. */
export async function readHeard(table: string): Promise<Neighbour[]> {
  const { code, stdout, stderr } = await run('nft', ['-j', 'list', 'table', ...nameOf(table).split(' ')])
  if (code !== 0) {
    if (/No such file/u.test(stderr)) return []
    throw new VisorError('failed', `What guests said of their addresses cannot be read: ${stderr.trim()}`)
  }
  return parseHeard(JSON.parse(stdout))
}

export function parseHeard(listed: unknown): Neighbour[] {
  const { nftables = [] } = listed as { readonly nftables?: readonly { readonly set?: ListedSet }[] }
  return nftables.flatMap(({ set }) =>
    (set?.name?.startsWith('heard') ? (set.elem ?? []) : []).flatMap((one) => {
      const { elem } = one as { readonly elem?: { readonly val?: { readonly concat?: readonly unknown[] } } }
      const [link, mac, address] = elem?.val?.concat ?? []
      return typeof link === 'string' && typeof mac === 'string' && typeof address === 'string'
        ? [{ link, mac, address }]
        : []
    }),
  )
}

interface ListedSet {
  readonly name?: string
  readonly elem?: readonly unknown[]
}
