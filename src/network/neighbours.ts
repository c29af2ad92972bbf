/** Who was heard on the links of this host. Source: ip-neighbour(8), RFC 826, RFC 4861. */
import { ipList } from './commands.ts'

export interface Neighbour {
  readonly address: string
  readonly mac: string
  /** The link of this host that it was heard on. */
  readonly link: string
}

/** Those who answered lately, or were said to be there for ever. */
export async function readNeighbours(): Promise<Neighbour[]> {
  const listed = await ipList('neighbour', 'show')
  return listed.flatMap(({ dst, lladdr, dev, state }) => {
    const states: unknown[] = Array.isArray(state) ? state : []
    if (typeof dst !== 'string' || typeof lladdr !== 'string' || typeof dev !== 'string') return []
    if (states.some((one) => one === 'FAILED' || one === 'INCOMPLETE')) return []
    return [{ address: dst, mac: lladdr.toLowerCase(), link: dev }]
  })
}
