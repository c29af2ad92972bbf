import { type CompleteConnection, complete } from '../driver/index.ts'
import { findDirectories } from '../host/index.ts'
import { VisorError } from '../model/index.ts'
import { connectRemote } from './remote.ts'

const remoteProtocols = ['http:', 'https:', 'unix:']

/** The directories of a visord: `state` survives a power cut, `runtime` has its socket. */
export interface ConnectDirectories {
  readonly state: string
  readonly runtime: string
}

export interface ConnectOptions {
  /** For a visord over TCP; the environment's `VISOR_TOKEN` without it. */
  readonly token?: string
  /** Where sockets and state are; those of this user and environment without it. */
  readonly directories?: ConnectDirectories
  /** Gives up while connecting; does nothing afterwards. */
  readonly signal?: AbortSignal
}

/**
 * Opens a connection. The same contract whatever is behind it:
 *
 * - nothing: the visord of this user, over its unix socket;
 * - `unix:///run/visor/visord.sock`, `http://127.0.0.1:8430`, `https://host:8430`: that visord;
 * - `qemu:///system`, `v86:///session`, `test:///default`: a driver, in this process. It has the state
 *   directory to itself meanwhile.
 *
 * ```ts
 * import { connect } from 'visor'
 *
 * const connection = await connect('test:///default')
 * for (const { name, state } of await connection.domains.list()) console.log(name, state)
 * await connection.close()
 * ```
 *
 * Fails with `unavailable` when nothing answers, `unauthenticated` without a valid token, `busy` when a visord
 * has the state directory, and `invalid-argument` for an address that means nothing.
 */
export async function connect(uri?: string, options: ConnectOptions = {}): Promise<CompleteConnection> {
  const { directories = findDirectories(), token = process.env.VISOR_TOKEN, signal } = options
  const address = uri === undefined ? undefined : parseAddress(uri)
  checkGivenUp(signal)
  const remote = address === undefined || remoteProtocols.includes(address.protocol)
  const open = remote
    ? connectRemote(address, { token, directories, signal })
    : // Drivers are not loaded to talk to a visord.
      import('./local.ts').then(({ openLocal }) => openLocal(address, directories))
  const connection = complete(await open)
  if (!signal?.aborted) return connection
  await connection.close()
  checkGivenUp(signal)
  return connection
}

function parseAddress(uri: string): URL {
  try {
    return new URL(uri)
  } catch (cause) {
    throw new VisorError('invalid-argument', `'${uri}' is not the address of a visord or a driver.`, {
      cause,
      remedy: 'Addresses look like qemu:///system, http://127.0.0.1:8430 or unix:///run/visor/visord.sock.',
    })
  }
}

function checkGivenUp(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new VisorError('cancelled', 'Connecting was given up.')
}
