import { VisorError } from '../../model/index.ts'
import type { RestContext } from './call.ts'

/**
 * Refuses a request over TCP for a host name that is not ours: a page elsewhere whose name was made to point
 * at this machine (DNS rebinding) would otherwise be of our origin. Addresses cannot be made to point anywhere.
 */
export function checkHost(
  request: Request,
  url: URL,
  context: RestContext,
  allowed: readonly string[],
): void {
  if (context.transport !== 'tcp') return
  const name = hostName(request.headers.get('host')) ?? url.hostname
  if (name === 'localhost' || isAddress(name) || allowed.includes(name)) return
  throw new VisorError('denied', `This server does not answer to the name '${name}'.`, {
    remedy: "Use the address it listens on, or add the name to 'allowedHosts' in its configuration.",
  })
}

function isAddress(name: string): boolean {
  return /^(\d{1,3}(\.\d{1,3}){3}|\[[\da-f:.]+\])$/u.test(name)
}

function hostName(host: string | null): string | undefined {
  return host === null ? undefined : /^(\[[^\]]*\]|[^:]*)/u.exec(host.toLowerCase())?.[0]
}

/**
 * Refuses what another site's page sends with our cookie: `Origin`, which browsers put on every WebSocket and
 * every request but plain GETs, must name the host the request is for.
 */
export function checkOrigin(request: Request, url: URL): void {
  const origin = request.headers.get('origin')
  const site = request.headers.get('sec-fetch-site')
  const host = request.headers.get('host') ?? url.host
  const foreign =
    origin !== null ? originHost(origin) !== host : site !== null && site !== 'same-origin' && site !== 'none'
  if (!foreign) return
  throw new VisorError('denied', `The page at '${origin ?? site}' may not use this server's login.`, {
    remedy: 'Use a bearer token instead of the browser session.',
  })
}

function originHost(origin: string): string | undefined {
  return /^https?:\/\/([^/]+)$/u.exec(origin)?.[1]
}
