import { VisorError } from '../../model/index.ts'

export interface GuestPlace {
  readonly domain: string
  readonly path: string
}

/** `DOMAIN:/PATH`; undefined for a file of this host. Fails with `invalid-argument` for a path that begins nowhere. */
export function readPlace(text: string): GuestPlace | undefined {
  const [, domain, path = ''] = /^([^/:]+):(.*)$/su.exec(text) ?? []
  if (domain === undefined || text.startsWith('.')) return undefined
  if (path.startsWith('/') && !path.includes('\0')) return { domain, path }
  throw new VisorError('invalid-argument', `'${path}' is no path in the guest: it does not begin with '/'.`, {
    remedy: `Write ${domain}:/${path.replace(/^~?\/?/u, '') || 'tmp/'}, or ./${text} for a file here.`,
  })
}
