/** A visord, over its unix socket or TCP. */
import type { Connection } from '../driver/index.ts'
import { restSocket } from '../host/index.ts'
import { VisorError } from '../model/index.ts'
import { restClient } from '../rest/index.ts'
import type { ConnectDirectories } from './connect.ts'
import { httpTransport } from './http.ts'

export interface RemoteOptions {
  readonly token: string | undefined
  readonly directories: ConnectDirectories
  readonly signal: AbortSignal | undefined
}

/** Connects to the visord at `address`, or to this user's own. */
export async function connectRemote(
  address: URL | undefined,
  { token, directories, signal }: RemoteOptions,
): Promise<Connection> {
  const socketPath = address ? socketPathOf(address) : restSocket(directories)
  const baseUrl = address && !socketPath ? address.origin : 'http://localhost'
  const transport = httpTransport(socketPath)
  let whileConnecting = signal ? { signal } : {}
  try {
    const connection = await restClient({
      baseUrl,
      uri: address?.href ?? `unix://${socketPath}`,
      token: token === '' ? undefined : token,
      fetch: (url, init) => transport.fetch(url, { ...init, ...whileConnecting }),
      openWebSocket: async (path, headers) => {
        const { openWebSocket } = await import('./web-socket.ts')
        return openWebSocket(new URL(path, baseUrl), headers, socketPath)
      },
    })
    whileConnecting = {}
    return {
      ...connection,
      async close() {
        await connection.close()
        transport.close()
      },
    }
  } catch (error) {
    transport.close()
    throw socketPath ? explain(error, socketPath, address === undefined) : error
  }
}

function socketPathOf({ protocol, host, pathname }: URL): string | undefined {
  if (protocol !== 'unix:') return undefined
  if (host !== '')
    throw new VisorError('invalid-argument', `'unix://${host}${pathname}' has two slashes, not three.`, {
      remedy: `Write unix:///${host}${pathname} for the path /${host}${pathname}.`,
    })
  return decodeURIComponent(pathname)
}

/** Nobody there, said in terms of the socket. */
function explain(error: unknown, socketPath: string, usual: boolean): unknown {
  if (!(error instanceof VisorError) || error.code !== 'unavailable') return error
  const code = errnoOf(error)
  const why =
    code === 'ENOENT'
      ? 'there is no such socket'
      : code === 'ECONNREFUSED'
        ? 'nobody listens there any more'
        : code === 'EACCES'
          ? 'this user may not use it'
          : undefined
  if (!why) return error
  return new VisorError('unavailable', `No visord answers at '${socketPath}': ${why}.`, {
    cause: error,
    remedy:
      code === 'EACCES'
        ? "Join the socket's group, or become its owner."
        : usual
          ? "Start it with 'visord', or open a driver without it: --connect qemu:///session."
          : "Start it with 'visord', or see that the path is right.",
  })
}

/** The system's error code, somewhere down the causes. */
function errnoOf(error: unknown): string | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause)
    if ('code' in at && typeof at.code === 'string' && /^E[A-Z]+$/u.test(at.code)) return at.code
  return undefined
}
