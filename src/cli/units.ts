import { VisorError } from '../model/index.ts'

const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** Bytes in the largest unit that leaves at least 1: '1.5 GiB', '512 MiB', '0 B'. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < names.length - 1) {
    value /= 1024
    unit++
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1
  return `${value.toFixed(digits).replace(/\.0+$/u, '')} ${names[unit]}`
}

export function formatKiB(kib: number): string {
  return formatBytes(kib * 1024)
}

/** A span in its two largest units: '3 d 4 h', '2 min 5 s', '0.4 s'. */
export function formatDuration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`
  const whole = Math.round(seconds)
  const steps = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'min'],
    [1, 's'],
  ] as const
  const first = steps.findIndex(([size]) => whole >= size)
  const [size, name] = steps[first] ?? [1, 's']
  const next = steps[first + 1]
  const rest = next ? Math.floor((whole % size) / next[0]) : 0
  return `${Math.floor(whole / size)} ${name}${next && rest > 0 ? ` ${rest} ${next[1]}` : ''}`
}

/** How long ago an ISO 8601 time is: 'just now', '5 min ago'. */
export function formatAgo(time: string, now: number = Date.now()): string {
  const ms = now - Date.parse(time)
  if (Number.isNaN(ms)) return time
  if (ms < 1_000) return 'just now'
  const whole = formatDuration(Math.floor(ms / 1_000) * 1_000)
  return `${whole.replace(/^(\d+ (?:d|h|min)) .*/u, '$1')} ago`
}

const sizePattern = /^(\d+(?:\.\d+)?)\s*(b|bytes?|[kmgtp](?:i?b)?)?$/iu

/**
 * Bytes of a size as a person writes it: '20GiB', '2G', '512 MiB', '1.5T'. A letter alone is the binary unit,
 * `GB` and its like are powers of 1000, both as in libvirt. A bare number counts `bareUnit`.
 */
export function parseSize(text: string, what: string, bareUnit: 'MiB' | 'B' = 'B'): number {
  const [, number = '', unit = bareUnit] = sizePattern.exec(text.trim()) ?? []
  const power = 'bkmgtp'.indexOf(unit.charAt(0).toLowerCase())
  const bytes = Math.round(Number(number) * (/^[kmgtp]b$/iu.test(unit) ? 1000 : 1024) ** power)
  if (number === '' || !Number.isSafeInteger(bytes) || bytes < 1)
    throw new VisorError('invalid-argument', `${what} '${text}' is not a size.`, {
      remedy: "Write a number and its unit, such as '512MiB' or '2GiB'.",
    })
  return bytes
}

/** KiB of a size as {@link parseSize} takes it; a bare number counts KiB, as in virsh. */
export function parseKiB(text: string, what: string): number {
  const bytes = parseSize(/^\d+$/u.test(text.trim()) ? `${text.trim()}KiB` : text, what)
  return Math.max(1, Math.round(bytes / 1024))
}

/** A limit: 0 for none, a count, or a size. */
export function parseLimit(text: string, what: string): number {
  return text.trim() === '0' ? 0 : parseSize(text, what)
}

/** Whether the text looks like a size rather than a path. */
export function isSize(text: string): boolean {
  return sizePattern.test(text.trim())
}

/** Milliseconds of '60', '60s', '5m', '1h'; a bare number counts seconds. */
export function parseDuration(text: string, what: string): number {
  const [, number = '', unit = 's'] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?$/u.exec(text.trim()) ?? []
  const scale = { ms: 1, s: 1_000, m: 60_000, min: 60_000, h: 3_600_000 }[unit] ?? Number.NaN
  const ms = Number(number) * scale
  if (number === '' || !(ms <= 86_400_000))
    throw new VisorError('invalid-argument', `${what} '${text}' is not a time.`, {
      remedy: "Write seconds, or a number and its unit: '90', '90s', '5m', '1h'; at most a day.",
    })
  return Math.round(ms)
}

/** Seconds of '30d', '12h', '2w'; a bare number counts days. */
export function parseAge(text: string, what: string): number {
  const [, number = '', unit = 'd'] = /^(\d{1,6})\s*(s|m|h|d|w)?$/u.exec(text.trim()) ?? []
  if (number === '')
    throw new VisorError('invalid-argument', `${what} '${text}' is not a time.`, {
      remedy: "Write days, or a number and its unit: '30d', '12h', '2w'.",
    })
  return Number(number) * ({ s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 }[unit] ?? 1)
}

/** A whole number between two bounds, from an argument. */
export function parseCount(text: string, what: string, min: number, max: number): number {
  const value = /^\d+$/u.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max))
    throw new VisorError('invalid-argument', `${what} '${text}' is not a whole number from ${min} to ${max}.`)
  return value
}
