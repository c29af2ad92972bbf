/**
 * Docker and ufw, whose rules are those of iptables(8): visor has a chain of its own in theirs, which they ask before
 * they drop what they do not know, and after all that they do know.
 */
import { type Exception, servedPorts } from './exceptions.ts'

export type IptablesFamily = 'ipv4' | 'ipv6'

interface Wanted {
  /** What the names of our chains begin with. */
  readonly name: string
  readonly family: IptablesFamily
  readonly exceptions: readonly Exception[]
  /** Links of Docker's networks. */
  readonly docker: readonly string[]
}

interface Hook {
  readonly chain: 'FORWARD' | 'INPUT'
  readonly own: string
  readonly rules: readonly string[]
}

/**
 * What makes the table what it shall be, as lines for `iptables-restore --noflush`, from what `iptables -S` lists of
 * it; none when it is so already.
 */
export function planIptables(listed: string, wanted: Wanted): string[] {
  const lines = listed.split('\n').filter((line) => line !== '')
  return hooksOf(wanted).flatMap((hook) => planHook(lines, hook))
}

function hooksOf({ name, family, exceptions, docker }: Wanted): Hook[] {
  const [forward, input] = [`${name}-forward`, `${name}-input`]
  return [
    {
      ...{ chain: 'FORWARD', own: forward },
      rules: exceptions.flatMap(({ bridge, isThrough }) => [
        ...(isThrough ? docker.map((link) => `-i ${bridge} -o ${link} -j RETURN`) : []),
        ...(isThrough
          ? [`-i ${bridge} -j ACCEPT`, `-o ${bridge} -j ACCEPT`]
          : [`-i ${bridge} -o ${bridge} -j ACCEPT`]),
      ]),
    },
    {
      ...{ chain: 'INPUT', own: input },
      rules: exceptions
        .filter(({ isServed }) => isServed)
        .flatMap(({ bridge }) =>
          (['udp', 'tcp'] as const).flatMap((protocol) =>
            servedPorts[protocol]
              .filter((port) => port !== (family === 'ipv4' ? 547 : 67))
              .map((port) => `-i ${bridge} -p ${protocol} -m ${protocol} --dport ${port} -j ACCEPT`),
          ),
        ),
    },
  ]
}

function planHook(lines: readonly string[], { chain, own, rules }: Hook): string[] {
  const isThere = lines.includes(`-N ${own}`)
  const jump = `-A ${chain} -j ${own}`
  const all = lines.filter((line) => line.startsWith(`-A ${chain} `))
  const others = all.filter((line) => line !== jump)
  const remove = all.filter((line) => line === jump).map(() => `-D ${chain} -j ${own}`)
  if (rules.length === 0 || !dropsUnknown(lines, chain))
    return isThere ? [...remove, `-F ${own}`, `-X ${own}`] : []
  const place = placeOf(others, chain)
  const isPlaced = remove.length === 1 && all.indexOf(jump) === place
  const found = lines.flatMap((line) => (line.startsWith(`-A ${own} `) ? [line.slice(own.length + 4)] : []))
  const isSame = isThere && found.join('\n') === rules.join('\n')
  return [
    ...(isSame ? [] : [`:${own} - [0:0]`, ...rules.map((rule) => `-A ${own} ${rule}`)]),
    ...(isPlaced ? [] : [...remove, `-I ${chain} ${place + 1} -j ${own}`]),
  ]
}

/** Whether Docker or ufw has the chain drop what it does not know: what others set up is a decision of theirs. */
function dropsUnknown(lines: readonly string[], chain: Hook['chain']): boolean {
  const isUfw = lines.some((line) => new RegExp(`^-A ${chain} -j ufw6?-`, 'u').test(line))
  const isDocker = chain === 'FORWARD' && lines.some((line) => /^-N DOCKER(?:-USER)?$/u.test(line))
  if (!isUfw && !isDocker) return false
  const rejects = lines.some((line) => new RegExp(`^-A ufw6?-reject-${chain.toLowerCase()} `, 'u').test(line))
  return rejects || lines.includes(`-P ${chain} DROP`)
}

/** Before what ufw does with what is left over (it drops DHCP there, writes to the log, and rejects); else at the end. */
function placeOf(others: readonly string[], chain: Hook['chain']): number {
  const last = new RegExp(`^-A ${chain} -j ufw6?-(?:after|reject)-`, 'u')
  const index = others.findIndex((line) => last.test(line))
  return index < 0 ? others.length : index
}
