import { type FirstBootInput, VisorError } from '../../model/index.ts'
import { parseCount } from '../units.ts'

type Card = NonNullable<FirstBootInput['cards']>[number]

/** What `--address` says of the card with this number. */
export interface AddressSpec {
  readonly card: number
  readonly settings: Omit<Card, 'mac'>
}

const usage =
  'Write CARD=ADDRESS/PREFIX[,ADDRESS/PREFIX][,gateway=ADDRESS][,dns=ADDRESS][,search=DOMAIN][,mtu=BYTES]; the first card is 0.'
const lists = { gateway: 'gateways', dns: 'nameservers', search: 'searchDomains' } as const

/** '0=192.0.2.5/24,gateway=192.0.2.1,dns=192.0.2.53'. Fails with `invalid-argument`. */
export function parseAddress(text: string): AddressSpec {
  const refuse = (what: string): never => {
    throw new VisorError('invalid-argument', `--address ${text}: ${what}.`, { remedy: usage })
  }
  const [, number = refuse('it names no card'), rest = ''] = /^(\d{1,2})=(.*)$/su.exec(text) ?? []
  const settings = {
    addresses: [] as string[],
    gateways: [] as string[],
    nameservers: [] as string[],
    searchDomains: [] as string[],
  }
  let mtu: number | undefined
  for (const word of rest.split(',')) {
    const [key = '', ...value] = word.split('=')
    if (value.length === 0) settings.addresses.push(key)
    else if (key === 'mtu') mtu = parseCount(value.join('='), '--address: the MTU', 576, 65_535)
    else if (key === 'gateway' || key === 'dns' || key === 'search')
      settings[lists[key]].push(value.join('='))
    else refuse(`there is no setting '${key}'`)
  }
  if (settings.addresses.every((address) => address === '')) refuse('it has no address')
  return { card: Number(number), settings: { ...settings, ...(mtu !== undefined && { mtu }) } }
}

/** All cards: those of which nothing is said ask DHCP. Fails with `invalid-argument`. */
export function cardsOf(specs: readonly AddressSpec[], macs: readonly string[]): Card[] {
  if (specs.length === 0) return []
  const byNumber = new Map(specs.map((one) => [one.card, one.settings]))
  const beyond = specs.find(({ card }) => card >= macs.length)
  if (beyond || byNumber.size < specs.length)
    throw new VisorError(
      'invalid-argument',
      beyond
        ? `--address: there is no card ${beyond.card}; the machine has ${macs.length}, counted from 0.`
        : '--address: a card is named twice.',
      { remedy: usage },
    )
  return macs.map((mac, index) => ({ mac, ...byNumber.get(index) }))
}
