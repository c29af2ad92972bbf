/**
 * firewalld, which rejects what is in none of its zones: visor has chains of its own in its table, which are asked
 * first, and are made again when firewalld has made its table anew. Source: nft(8), firewalld's table `inet firewalld`.
 */
import { type Exception, servedPorts } from './exceptions.ts'

export const firewalldTable = 'firewalld'

/** A script of nft(8) that puts our chains there, or removes them; `jumps`: which of its chains ask ours already. */
export function formatFirewalld(
  name: string,
  exceptions: readonly Exception[],
  docker: readonly string[],
  jumps: ReadonlySet<string>,
): string {
  const hooks = [
    { chain: 'filter_FORWARD', own: `${name}-forward`, rules: forwardRules(exceptions, docker) },
    { chain: 'filter_INPUT', own: `${name}-input`, rules: inputRules(exceptions) },
  ]
  const table = `inet ${firewalldTable}`
  return hooks
    .flatMap(({ chain, own, rules }) => [
      `add chain ${table} ${own}`,
      `flush chain ${table} ${own}`,
      ...rules.map((rule) => `add rule ${table} ${own} ${rule}`),
      ...(jumps.has(chain) ? [] : [`insert rule ${table} ${chain} jump ${own}`]),
    ])
    .join('\n')
}

const quoted = (link: string) => `"${link}"`

function forwardRules(exceptions: readonly Exception[], docker: readonly string[]): string[] {
  return exceptions.flatMap(({ bridge, isThrough }) => {
    const own = quoted(bridge)
    if (!isThrough) return [`iifname ${own} oifname ${own} accept`]
    return [
      ...docker.map((link) => `iifname ${own} oifname ${quoted(link)} return`),
      `iifname ${own} accept`,
      `oifname ${own} accept`,
    ]
  })
}

const inputRules = (exceptions: readonly Exception[]): string[] =>
  exceptions
    .filter(({ isServed }) => isServed)
    .flatMap(({ bridge }) => [
      `iifname ${quoted(bridge)} udp dport { ${servedPorts.udp.join(', ')} } accept`,
      `iifname ${quoted(bridge)} tcp dport { ${servedPorts.tcp.join(', ')} } accept`,
      // Routers and neighbours of IPv6.
      `iifname ${quoted(bridge)} icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept`,
    ])
