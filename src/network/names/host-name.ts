/** How guests and their networks are called in the DNS. */
import type { CompleteNetwork } from '../complete.ts'

/** The domain below which all networks are that choose none. */
export const rootDomain = 'visor'

/** The domain that guests of a network are in: `NAME.visor` where none is chosen. */
export const domainOf = ({ domain, name }: CompleteNetwork): string =>
  (domain ?? `${name.toLowerCase().replace(/[^a-z0-9-]/gu, '-')}.${rootDomain}`).replace(/\.$/u, '')

/** Whether nobody else is asked for names in its domain. */
export const isLocalDomain = ({ domain, domainLocalOnly }: CompleteNetwork): boolean =>
  domainLocalOnly ?? domain === undefined

/** A name of a guest as one that hosts can have (RFC 1123); undefined when nothing is left of it. */
export function hostName(name: string): string | undefined {
  const label = name
    .toLowerCase()
    .replace(/[^a-z0-9-]+/gu, '-')
    .replace(/^-+|-+$/gu, '')
    .slice(0, 63)
  return label === '' ? undefined : label
}
