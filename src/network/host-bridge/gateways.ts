/** Whether routers on a link answer: by the kernel's own question for their address (ARP, RFC 826; RFC 4861). */
import { createSocket } from 'node:dgram'
import { ipList } from '../commands.ts'

/** The discard service: nobody needs to answer, the packet only has the kernel ask who has the address. */
const discardPort = 9

/** Whether all of them answer, or there are none. */
export async function reachesAll(
  link: string,
  gateways: readonly string[],
  patienceMs: number,
): Promise<boolean> {
  const answers = await Promise.all(gateways.map((gateway) => reaches(link, gateway, patienceMs)))
  return answers.every((answer) => answer)
}

async function reaches(link: string, gateway: string, patienceMs: number): Promise<boolean> {
  const deadline = performance.now() + patienceMs
  do {
    await knock(link, gateway)
    const [found] = await ipList('neighbour', 'show', gateway, 'dev', link)
    const states: unknown[] = Array.isArray(found?.state) ? found.state : []
    const isKnown = states.some((state) => ['REACHABLE', 'PERMANENT', 'NOARP'].includes(String(state)))
    if (isKnown) return true
    await new Promise((resolve) => setTimeout(resolve, 100))
  } while (performance.now() < deadline)
  return false
}

function knock(link: string, gateway: string): Promise<void> {
  const isV6 = gateway.includes(':')
  const socket = createSocket(isV6 ? 'udp6' : 'udp4')
  const to = isV6 && gateway.startsWith('fe80') ? `${gateway}%${link}` : gateway
  return new Promise<void>((resolve) => {
    socket.on('error', () => resolve())
    socket.send(Buffer.alloc(1), discardPort, to, () => resolve())
  }).finally(() => socket.close())
}
