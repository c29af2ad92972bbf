/** `Range` and the conditions on entity tags. Source: RFC 9110, 13.1 and 14. */
import { VisorError } from '../../model/index.ts'
import { HttpRefusal } from './body.ts'

/**
 * The one range that a header asks for; undefined for what is none of ours, which is then ignored, as for several. Fails
 * with status 416 for one that begins at the end or beyond it.
 */
export function parseRange(
  header: string,
  sizeBytes: number,
): { offset: number; lengthBytes: number } | undefined {
  const found = /^bytes=(?<first>\d{0,15})-(?<last>\d{0,15})$/u.exec(header.trim())?.groups
  if (!found) return undefined
  const { first = '', last = '' } = found
  if (first === '' && last === '') return undefined
  if (first === '') {
    const lengthBytes = Math.min(Number(last), sizeBytes)
    if (lengthBytes === 0) throw outOfRange(header, sizeBytes)
    return { offset: sizeBytes - lengthBytes, lengthBytes }
  }
  const offset = Number(first)
  if (last !== '' && Number(last) < offset) return undefined
  if (offset >= sizeBytes) throw outOfRange(header, sizeBytes)
  const end = last === '' ? sizeBytes : Math.min(Number(last) + 1, sizeBytes)
  return { offset, lengthBytes: end - offset }
}

/** Whether a list of entity tags has this one; `absent` when there is no list. Weak ones are equal to nothing here. */
export function matches(header: string | null, tag: string, absent: boolean): boolean {
  if (header === null) return absent
  return header.trim() === '*' || header.split(',').some((one) => one.trim() === tag)
}

function outOfRange(header: string, sizeBytes: number): HttpRefusal {
  return new HttpRefusal(
    416,
    new VisorError('invalid-argument', `The volume has ${sizeBytes} bytes: '${header}' is not in it.`),
    { 'content-range': `bytes */${sizeBytes}` },
  )
}
