import { VisorError } from '../../model/index.ts'
import type { Identity, RestContext } from './call.ts'

const sessionMs = 12 * 60 * 60 * 1000
const sessionLimit = 1_000

/**
 * Logins of browsers: a page cannot put a token on a WebSocket or an event source, so it trades the token for
 * a cookie that scripts cannot read and other sites' pages cannot send. Forgotten when the daemon ends.
 */
export interface Sessions {
  /** The identity of the request's cookie. */
  find(request: Request, url: URL): Identity | undefined
  /** The `Set-Cookie` of a new session. */
  open(identity: Identity, url: URL, context: RestContext): string
  /** Ends the session of the request; the `Set-Cookie` that removes it. */
  close(request: Request, url: URL): string
}

export function createSessions(now: () => number = Date.now): Sessions {
  const sessions = new Map<string, { readonly identity: Identity; readonly until: number }>()

  function idOf(request: Request, url: URL): string | undefined {
    const wanted = `${cookieName(url)}=`
    const cookies = request.headers.get('cookie')?.split(/;\s*/u) ?? []
    return cookies.find((cookie) => cookie.startsWith(wanted))?.slice(wanted.length)
  }

  return {
    find(request, url) {
      const id = idOf(request, url)
      const session = id === undefined ? undefined : sessions.get(id)
      if (!id || !session) return undefined
      if (session.until > now()) return session.identity
      sessions.delete(id)
      return undefined
    },
    open(identity, url, context) {
      for (const [id, { until }] of sessions) if (until <= now()) sessions.delete(id)
      if (sessions.size >= sessionLimit)
        throw new VisorError('busy', `${sessionLimit} browser sessions are open already.`, {
          remedy: 'Log out where a session is no longer used.',
        })
      const id = randomId()
      sessions.set(id, { identity, until: now() + sessionMs })
      const secure = context.secure ? '; Secure' : ''
      return `${cookieName(url)}=${id}; Path=/; HttpOnly; SameSite=Strict; Max-Age=${sessionMs / 1000}${secure}`
    },
    close(request, url) {
      const id = idOf(request, url)
      if (id) sessions.delete(id)
      return `${cookieName(url)}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0`
    },
  }
}

/** Cookies know no ports, and several daemons may serve one host: the name tells them apart. */
function cookieName(url: URL): string {
  return `visor_session_${url.port || 'default'}`
}

/** 256 random bits, so that nobody guesses one. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
