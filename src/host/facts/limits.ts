import type { HostFiles } from './files.ts'

/** A limit of a process; `Infinity` when there is none. */
export interface Limit {
  readonly soft: number
  readonly hard: number
}

/** The rows of /proc/PID/limits, by name: `Max open files`. */
export function parseLimits(text: string): Map<string, Limit> {
  const limits = new Map<string, Limit>()
  for (const line of text.split('\n').slice(1)) {
    const [, name, soft, hard] = /^(Max [a-z ]+?) {2,}(\S+)\s+(\S+)/u.exec(line) ?? []
    if (name && soft && hard) limits.set(name, { soft: limit(soft), hard: limit(hard) })
  }
  return limits
}

function limit(text: string): number {
  return text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text)
}

export function readLimits(files: HostFiles): Map<string, Limit> {
  return parseLimits(files.read('/proc/self/limits') ?? '')
}

/** How many ids /etc/subuid or /etc/subgid give a user, by name or number (subuid(5)). */
export function parseSubordinateIds(
  text: string,
  user: { readonly name: string; readonly id: number },
): number {
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .filter(([owner]) => owner === user.name || owner === String(user.id))
    .reduce((sum, [, , count]) => sum + (Number(count) || 0), 0)
}
