/**
 * What is said to a question for a name. Source: RFC 1034 (4.3.2), RFC 2308 (names that are not there), RFC 8020
 * (nor what is below them), RFC 8482 (ANY).
 */
import { parseIp } from '../../model/index.ts'
import type { GuestNames } from './guest-names.ts'
import { rootDomain } from './host-name.ts'
import {
  type DnsRecord,
  internetClass,
  type Labels,
  type Query,
  type Reply,
  recordType,
  replyCode,
  words,
  writeName,
} from './packet.ts'

const { A, AAAA, ANY, AXFR, IXFR, PTR, SOA } = recordType

const plain = (code: number): Reply => ({ code, isOwn: false, answers: [], authority: [] })
export const failure: Reply = plain(replyCode.serverFailure)

/** The reply to a question, by who is known; what is not of networks of visor is refused. */
export async function answer(query: Query, names: GuestNames): Promise<Reply> {
  const { question, fault } = query
  if (fault !== undefined || !question) return plain(fault ?? replyCode.formatError)
  const { type } = question
  if (question.class !== internetClass || type === AXFR || type === IXFR) return plain(replyCode.refused)
  const name = textOf(question.labels)
  const found = await names.find(name)
  // Another server may know it.
  if (!found || (!found.exists && !found.zone.isLocal)) return plain(replyCode.refused)
  const apex = labelsOf(found.zone.apex)
  const soa: DnsRecord = { labels: apex, type: SOA, data: authorityData }
  if (!found.exists) return { code: replyCode.nameError, isOwn: true, answers: [], authority: [soa] }
  const wants = (...types: readonly number[]) => type === ANY || types.includes(type)
  const answers = [
    ...found.addresses.flatMap((address) => addressRecord(address) ?? []),
    ...found.names.map((text): DnsRecord => ({ type: PTR, data: writeName(labelsOf(text)) })),
    ...(name === found.zone.apex ? [soa] : []),
  ].filter((record) => wants(record.type))
  return { code: replyCode.noError, isOwn: true, answers, authority: answers.length > 0 ? [] : [soa] }
}

function addressRecord(text: string): DnsRecord | undefined {
  const address = parseIp(text)
  if (!address) return undefined
  const [type, count] = address.family === 'ipv4' ? [A, 4] : [AAAA, 16]
  const bytes = Array.from({ length: count }, (_, index) =>
    Number((address.value >> BigInt(8 * (count - 1 - index))) & 255n),
  )
  return { type, data: Uint8Array.from(bytes) }
}

/**
 * Nobody copies these zones, nor is to keep for long that a name is not there: serial, refresh, retry, expire and how
 * long that is kept, each of 32 bits.
 */
const authorityData: Uint8Array = Buffer.concat([
  writeName(['ns', rootDomain]),
  writeName(['hostmaster', rootDomain]),
  words(...[1, 3600, 600, 86_400, 0].flatMap((value) => [value >>> 16, value & 0xffff])),
])

const labelsOf = (name: string): Labels => name.split('.').filter(Boolean)

/** As names are written; a dot within a label is none of those between them. */
const textOf = (labels: Labels): string =>
  labels.map((label) => label.toLowerCase().replace(/[.\\]/gu, '\\$&')).join('.')
