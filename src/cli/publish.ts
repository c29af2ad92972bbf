/** Ports of the host that lead to a machine, as `--publish` names them. */
import { type DomainDefinitionInput, VisorError } from '../model/index.ts'

type Interface = NonNullable<NonNullable<DomainDefinitionInput['devices']>['interfaces']>[number]
type PortForward = NonNullable<Interface['portForwards']>[number]

const form =
  /^(?:(?<address>\d{1,3}(?:\.\d{1,3}){3}):)?(?<from>\d{1,5}):(?<to>\d{1,5})(?:\/(?<proto>tcp|udp))?$/u

/** `[ADDRESS:]PORT:GUESTPORT[/udp]`; without an address, only this host reaches it. Fails with `invalid-argument`. */
export function parsePublished(text: string): PortForward {
  const { address = '127.0.0.1', from, to, proto = 'tcp' } = form.exec(text)?.groups ?? {}
  const [start, guest] = [Number(from), Number(to)]
  if (!(start >= 1 && start <= 65_535 && guest >= 1 && guest <= 65_535))
    throw new VisorError('invalid-argument', `'${text}' names no ports.`, {
      remedy: "Write PORT:GUESTPORT, such as '8080:80', '0.0.0.0:8080:80' or '5353:53/udp'.",
    })
  // All addresses are what libvirt means by naming none.
  const on = address === '0.0.0.0' ? {} : { address }
  return { proto: proto === 'udp' ? 'udp' : 'tcp', ...on, ranges: [{ start, to: guest }] }
}

/** Ports of the host that lead to a machine on a network. */
export interface PublicPorts {
  readonly proto: 'tcp' | 'udp'
  readonly address?: string
  readonly start: number
  readonly end: number
  readonly to: number
}

const publicForm =
  /^(?:(?<address>\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]):)?(?<from>\d{1,5})(?:-(?<last>\d{1,5}))?(?::(?<to>\d{1,5}))?(?:\/(?<proto>tcp|udp))?$/u

/** `[ADDRESS:]PORT[-LAST][:GUESTPORT][/udp]`; without an address, all of the host's. Fails with `invalid-argument`. */
export function parsePublicPorts(text: string): PublicPorts {
  const { address, from, last = from, to = from, proto = 'tcp' } = publicForm.exec(text)?.groups ?? {}
  const [start, end, guest] = [Number(from), Number(last), Number(to)]
  const isPort = (port: number) => port >= 1 && port <= 65_535
  if (!isPort(start) || !isPort(end) || !isPort(guest) || end < start)
    throw new VisorError('invalid-argument', `'${text}' names no ports.`, {
      remedy:
        "Write PORT:GUESTPORT, such as '8080:80', '127.0.0.1:8080:80', '30000-30010:30000' or '5353:53/udp'.",
    })
  const on = address === undefined || address === '0.0.0.0' ? {} : { address: address.replace(/[[\]]/gu, '') }
  return { proto: proto === 'udp' ? 'udp' : 'tcp', ...on, start, end, to: guest }
}

/** The cards with the ports at the first that has a network of its own. Fails with `invalid-argument` without one. */
export function publish(interfaces: readonly Interface[], published: readonly string[]): Interface[] {
  const portForwards = published.map(parsePublished)
  const at = interfaces.findIndex(({ type }) => type === 'user')
  if (portForwards.length === 0) return [...interfaces]
  if (at < 0)
    throw new VisorError('invalid-argument', "--publish goes with '--network user'.", {
      remedy: "On other networks: 'visor publish NAME 8080:80', when the machine is made.",
    })
  return interfaces.map((one, index) => (index === at ? { ...one, portForwards } : one))
}
