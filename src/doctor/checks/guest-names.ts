import { lookup, Resolver } from 'node:dns/promises'
import { readPresence } from '../../host/index.ts'
import type { Finding, Subject } from '../subject.ts'

/** The name of who answers, which nobody else knows. */
const serverName = 'ns.visor'
const patienceMs = 4_000

/** Whether names of guests are answered to programs of this host, and whether its resolver asks for them. */
export async function checkGuestNames({ directories, files }: Subject): Promise<Finding | undefined> {
  const title = 'Names of guests'
  const presence = readPresence(directories.runtime)
  if (!presence || !files.exists(`/proc/${presence.pid}`)) return undefined
  const { names } = presence
  if (!names)
    return {
      title,
      status: 'info',
      detail: 'Not answered to programs of this host: visord has no networks, or is told not to.',
      remedy: "Run visord as root, without 'names: none' in its configuration.",
    }
  const { address, port, problem, remedy } = names
  if (problem !== undefined)
    return {
      title,
      status: 'warn',
      detail: `Not answered to programs of this host: ${problem}`,
      remedy: remedy ?? 'See the log of visord.',
    }
  const where = port === 53 ? address : `${address} port ${port}`
  const fault = await askDirectly(address, port)
  if (fault !== undefined)
    return {
      title,
      status: 'warn',
      detail: `visord does not answer at ${where}: ${fault}.`,
      remedy: 'Rules of this host may drop it: see nft list ruleset; and restart visord.',
    }
  if (await asksThere(address))
    return {
      title,
      status: 'pass',
      detail: `Answered at ${where}, and the resolver of this host asks there.`,
    }
  if (files.exists('/run/systemd/resolve/resolv.conf'))
    return {
      title,
      status: 'info',
      detail: `Answered at ${where}. systemd-resolved asks there while a guest runs on a network with a bridge of its own.`,
      remedy:
        "If it does not then, /etc/resolv.conf or the line 'hosts' of /etc/nsswitch.conf does not lead to it.",
    }
  return {
    title,
    status: 'info',
    detail: `Answered at ${where}, but the resolver of this host does not ask there.`,
    remedy:
      port === 53
        ? `Put this line before others like it in /etc/resolv.conf: nameserver ${address}; docs/networks.md has it for others.`
        : `/etc/resolv.conf cannot name a port: let dnsmasq of this host ask there, by the line server=/visor/${address}#${port}; docs/networks.md has more.`,
  }
}

/** What is wrong with the answer; undefined when it is right. */
async function askDirectly(address: string, port: number): Promise<string | undefined> {
  const resolver = new Resolver({ timeout: patienceMs / 2, tries: 2 })
  resolver.setServers([address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`])
  const ask = address.includes(':') ? resolver.resolve6(serverName) : resolver.resolve4(serverName)
  return ask.then(
    (found) => (found.includes(address) ? undefined : `another program says ${found.join(', ')}`),
    (error: NodeJS.ErrnoException) =>
      error.code === 'ETIMEOUT' ? 'it says nothing' : (error.code ?? error.message),
  )
}

/** As programs ask, by getaddrinfo(3), which has nobody's patience but its own. */
async function asksThere(address: string): Promise<boolean> {
  const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), patienceMs).unref())
  const asked = lookup(serverName, { all: true }).then(
    (found) => found.some((one) => one.address === address),
    () => false,
  )
  return Promise.race([asked, late])
}
