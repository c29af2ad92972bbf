/** Lists of digests, as distributions publish them beside their files. */
import { VisorError } from '../../model/index.ts'

export const digestAlgorithms = ['sha256', 'sha512'] as const
export type DigestAlgorithm = (typeof digestAlgorithms)[number]

export interface Digest {
  readonly algorithm: DigestAlgorithm
  /** Lower-case hexadecimal. */
  readonly hex: string
}

const digits: Readonly<Record<DigestAlgorithm, number>> = { sha256: 64, sha512: 128 }

/** `sha256:0123...`; fails with `invalid-argument`. */
export function parseDigest(text: string): Digest {
  const [algorithm = '', hex = ''] = text.toLowerCase().split(':')
  const known = digestAlgorithms.find((one) => one === algorithm)
  if (known && new RegExp(`^[0-9a-f]{${digits[known]}}$`, 'u').test(hex)) return { algorithm: known, hex }
  throw new VisorError('invalid-argument', `'${text.slice(0, 200)}' is no digest.`, {
    remedy: `Write it as sha256: or sha512: and the hexadecimal digits.`,
  })
}

/**
 * The digest of `file` in a list: of sha256sum(1) (`HEX  NAME`, `HEX *NAME`), of BSD (`SHA256 (NAME) = HEX`), or one
 * digest by itself. Undefined when it is not there, or twice with different digests.
 */
export function findDigest(list: string, file: string, algorithm: DigestAlgorithm): Digest | undefined {
  const length = digits[algorithm]
  const found = new Set<string>()
  const lines = list.split('\n').map((line) => line.trim())
  for (const line of lines) {
    const plain = /^(?<hex>[0-9a-fA-F]+) [ *]?(?:\.\/)?(?<name>.+)$/u.exec(line)?.groups
    const bsd = /^SHA(?:256|512) \((?<name>.+)\) = (?<hex>[0-9a-fA-F]+)$/u.exec(line)?.groups
    const { hex = '', name } = bsd ?? plain ?? {}
    if (name === file && hex.length === length) found.add(hex.toLowerCase())
  }
  const whole = lines.filter((line) => line !== '')
  if (
    found.size === 0 &&
    whole.length === 1 &&
    new RegExp(`^[0-9a-fA-F]{${length}}$`, 'u').test(whole[0] ?? '')
  )
    found.add((whole[0] ?? '').toLowerCase())
  const [hex, other] = found
  return hex !== undefined && other === undefined ? { algorithm, hex } : undefined
}
