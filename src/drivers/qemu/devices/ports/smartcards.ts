/** Smartcards as parts of QEMU, each in a reader of its own. Source: docs/system/devices/ccid.rst of QEMU. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { FileAccess } from '../../../../host/index.ts'
import type { Devices, Smartcard } from '../../../../model/index.ts'
import type { Fields } from '../../definition/key-value.ts'
import { device, type Part } from '../../definition/parts.ts'
import { unsupported } from '../../definition/unsupported.ts'
import type { Place } from '../device-place.ts'
import { characterBackend } from './character-devices.ts'
import { lineOfCard } from './ports.ts'

/** Each with its reader: one has room for one card. */
export function completeSmartcards(smartcards: Devices['smartcards']): Smartcard[] {
  const taken = new Set(smartcards.flatMap((one) => (one.address ? [readerOf(one)] : [])))
  let next = 0
  return smartcards.map((one) => {
    if (one.address) return one
    while (taken.has(next)) next++
    taken.add(next)
    return { ...one, address: { type: 'ccid', controller: String(next), slot: '0' } }
  })
}

/** Number of the reader that a card is in. */
export const readerOf = ({ address }: Pick<Smartcard, 'address'>): number => Number(address?.controller ?? 0)

export function smartcardParts(one: Smartcard, index: number, place: Place): Part[] {
  const { alias, certificates, database } = one
  checkSmartcard(one, `devices.smartcards[${index}]`)
  const fields: Fields = { id: alias, bus: `ccid${readerOf(one)}.0` }
  const line = lineOfCard(one)
  if (line)
    return [
      ...characterBackend(line, place, { name: 'smartcard' }),
      device('ccid-card-passthru', { chardev: `char${alias}`, ...fields }),
    ]
  if (one.card === 'host') return [device('ccid-card-emulated', { backend: 'nss-emulated', ...fields })]
  const [cert1, cert2, cert3] = certificates
  const db = database ?? defaultDatabase
  return [device('ccid-card-emulated', { backend: 'certificates', cert1, cert2, cert3, db, ...fields })]
}

const defaultDatabase = '/etc/pki/nssdb'

function checkSmartcard(one: Smartcard, path: string): void {
  const { card, type, certificates, database } = one
  if (card === 'passthrough' && type === undefined)
    throw unsupported(
      `${path}.type`,
      "is needed for mode 'passthrough'",
      "Say where the card is: 'spicevmc'.",
    )
  if (card !== 'passthrough' && type !== undefined)
    throw unsupported(`${path}.type`, "is for mode 'passthrough'")
  if (card === 'host-certificates' ? certificates.length !== 3 : certificates.length > 0)
    throw unsupported(
      `${path}.certificates`,
      card === 'host-certificates' ? 'a card has three' : "are for mode 'host-certificates'",
    )
  if (card !== 'host-certificates' && database !== undefined)
    throw unsupported(`${path}.database`, "is for mode 'host-certificates'")
  const {
    card: _,
    type: _t,
    certificates: _c,
    database: _d,
    alias: _a,
    address: _p,
    unknown: _u,
    ...line
  } = one
  const [setting] = Object.entries(line).filter(([, value]) => value !== undefined)
  if (card !== 'passthrough' && setting)
    throw unsupported(`${path}.${setting[0]}`, "is for mode 'passthrough'")
}

/** The database that cards are made of, where the files of QEMU's library (NSS) are. */
export const filesOfSmartcards = ({ smartcards }: Devices): FileAccess[] =>
  smartcards.flatMap(({ card, database = defaultDatabase }) => {
    if (card === 'passthrough') return []
    const files = ['cert9.db', 'key4.db', 'pkcs11.txt', 'cert8.db', 'key3.db', 'secmod.db']
    return [database, ...files.map((name) => join(database, name)).filter((one) => existsSync(one))].map(
      (path) => ({ path, what: 'database of certificates' }),
    )
  })
