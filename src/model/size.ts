/**
 * Quantities of bytes as people and libvirt write them.
 *
 * Source: libvirt's "Domain XML format", memory: `b`/`bytes`; `KB`, `MB`, ... are powers of 1000; `k`/`KiB`,
 * `M`/`MiB`, ... are powers of 1024. Letters may have any case.
 */

const powers = 'kmgtpe'
const binary = ['', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'] as const

/** Bytes in a unit; undefined for a unit that is none. */
function bytesIn(unit: string): number | undefined {
  const lower = unit.toLowerCase()
  if (lower === '' || lower === 'b' || lower === 'byte' || lower === 'bytes') return 1
  const power = powers.indexOf(lower.charAt(0)) + 1
  if (power === 0) return undefined
  const rest = lower.slice(1)
  if (rest === '' || rest === 'ib') return 1024 ** power
  return rest === 'b' ? 1000 ** power : undefined
}

/**
 * A quantity in whole units, rounded up as libvirt does. Undefined when the unit is unknown or the number is
 * beyond what can be counted exactly.
 */
export function scale(amount: number, from: string, to: 'KiB' | 'bytes'): number | undefined {
  const bytes = bytesIn(from)
  if (bytes === undefined) return undefined
  const result = Math.ceil((amount * bytes) / (to === 'KiB' ? 1024 : 1))
  return Number.isSafeInteger(result) ? result : undefined
}

/** `2GiB`, `1.5 G`, `512M` as a number of `to`; undefined when it is no size. The unit must be written. */
export function parseSize(text: string, to: 'KiB' | 'bytes'): number | undefined {
  const match = /^\s*(\d{1,18}(?:\.\d{1,9})?)\s*([a-z]{1,5})\s*$/iu.exec(text)
  return match ? scale(Number(match[1]), match[2] ?? '', to) : undefined
}

/** The shortest exact spelling: 2097152 KiB gives `2GiB`. */
export function formatSize(amount: number, unit: 'KiB' | 'bytes'): string {
  let power = unit === 'KiB' ? 1 : 0
  let rest = amount
  while (rest !== 0 && rest % 1024 === 0 && power < binary.length - 1) {
    rest /= 1024
    power++
  }
  return power === 0 ? `${rest}B` : `${rest}${binary[power]}`
}
