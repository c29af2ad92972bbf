import type { CompleteConnection } from '../driver/index.ts'
import { type Directories, findDirectories } from '../host/index.ts'
import { VisorError } from '../model/index.ts'
import { type Output, openOutput } from './output.ts'

/** The flags that every command has. */
export interface GlobalOptions {
  readonly connect?: string
  readonly token?: string
  readonly json?: boolean
  readonly quiet?: boolean
  readonly color?: boolean
  readonly stateDir?: string
  readonly runtimeDir?: string
}

/** What a command works with. */
export interface Context {
  readonly options: GlobalOptions
  readonly output: Output
  readonly directories: Directories
  /** Aborts with Ctrl-C and on termination. */
  readonly signal: AbortSignal
  /** Opens the connection, hands it to `use`, and lets go of it in every case. */
  connected<T>(use: (connection: CompleteConnection) => Promise<T>): Promise<T>
  /** Makes the exit code that of this error, without ending the command. */
  failWith(code: number): void
}

/** The context of this process; `read` gives the flags when they are known. */
export function createContext(
  read: () => GlobalOptions,
  signal: AbortSignal,
  failWith: (code: number) => void,
): Context {
  let output: Output | undefined
  return {
    get options() {
      return read()
    },
    get output() {
      output ??= openOutput(read())
      return output
    },
    get directories() {
      return directoriesOf(read())
    },
    signal,
    failWith,
    async connected(use) {
      try {
        const connection = await open(read(), signal)
        try {
          return await use(connection)
        } finally {
          await connection.close().catch(() => {})
        }
      } catch (error) {
        throw explainLogin(error)
      }
    },
  }
}

function directoriesOf({ stateDir, runtimeDir }: GlobalOptions): Directories {
  return findDirectories({
    ...process.env,
    ...(stateDir !== undefined && { VISOR_STATE_DIR: stateDir }),
    ...(runtimeDir !== undefined && { VISOR_RUNTIME_DIR: runtimeDir }),
  })
}

async function open(options: GlobalOptions, signal: AbortSignal): Promise<CompleteConnection> {
  const [{ connect }, { complete }] = await Promise.all([
    import('../connect/index.ts'),
    import('../driver/index.ts'),
  ])
  const uri = options.connect ?? process.env.VISOR_CONNECT
  const token = options.token ?? process.env.VISOR_TOKEN
  const connection = await connect(uri === '' ? undefined : uri, {
    directories: directoriesOf(options),
    signal,
    ...(token !== undefined && { token }),
  })
  return complete(connection)
}

/** How one logs in here, where the server says how one does over HTTP. */
function explainLogin(error: unknown): unknown {
  if (!(error instanceof VisorError) || error.code !== 'unauthenticated') return error
  return new VisorError('unauthenticated', 'visord asks for a login, and the token is missing or wrong.', {
    remedy:
      "Give it with --token or VISOR_TOKEN. It is in the file 'token' of visord's state directory; its unix socket needs none.",
    cause: error,
  })
}

/** Fails with `cancelled` once the command was given up. */
export function checkCancelled(signal: AbortSignal): void {
  if (signal.aborted) throw new VisorError('cancelled', 'Cancelled.')
}
