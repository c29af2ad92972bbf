/**
 * A console with any number of viewers. What the guest prints, viewers read from its log, each at its own
 * pace; what they type goes over the one connection that QEMU takes.
 */
import type { Socket } from 'node:net'
import type { ByteStream } from '../../../driver/index.ts'
import {
  type ConsoleLog,
  connectGuestSocket,
  openConsoleViewer,
  type ProcessIdentity,
} from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'

export interface ConsolePort {
  readonly log: ConsoleLog
  /** A viewer. */
  open(options: { readonly scrollback: boolean }): Promise<ByteStream>
  /** The guest is gone: viewers see the rest and end. */
  end(): void
}

/** How long viewers can still read when the guest has ended. */
const graceMs = 60_000

/** What a console is of. */
export interface ConsoleOf {
  /** The socket that QEMU waits on; without one there is no console, but what was printed is kept. */
  readonly path: string | undefined
  readonly alias: string
  /** Kind of host side. */
  readonly type: string
}

export function consolePort(
  log: ConsoleLog,
  { path, alias, type: kind }: ConsoleOf,
  guest: ProcessIdentity,
): ConsolePort {
  const viewers = new Set<() => Promise<void>>()
  let line: Promise<Socket> | undefined

  /** The line to the guest: there while somebody looks. What comes over it is in the log too. */
  function connect(socketPath: string): Promise<Socket> {
    line ??= connectGuestSocket(socketPath, guest).then(
      (socket) => {
        socket.resume()
        socket.on('error', () => {})
        socket.once('close', () => {
          line = undefined
        })
        return socket
      },
      (cause: Error) => {
        throw new VisorError('unavailable', `The console cannot be typed on: ${cause.message}.`, { cause })
      },
    )
    line.catch(() => {
      line = undefined
    })
    return line
  }

  function leave(close: () => Promise<void>): void {
    viewers.delete(close)
    if (viewers.size > 0) return
    void line?.then((socket) => socket.destroy()).catch(() => {})
    line = undefined
  }

  async function type(bytes: Uint8Array): Promise<void> {
    if (path === undefined) throw noConsole()
    const socket = await connect(path)
    await new Promise<void>((resolve, reject) => {
      const gone = () => reject(new VisorError('unavailable', 'The console is gone: the guest has ended.'))
      if (socket.destroyed) return gone()
      socket.once('close', gone)
      socket.write(bytes, (error) => {
        socket.off('close', gone)
        if (error) gone()
        else resolve()
      })
    })
  }

  const noConsole = () =>
    new VisorError('unsupported-config', `'${alias}' is no console: its host side is of type '${kind}'.`, {
      remedy: "See what it printed ('visor console --log'), or give it the type 'pty'.",
    })

  return {
    log,
    end() {
      log.end()
      void line?.then((socket) => socket.destroy()).catch(() => {})
      // Time to read what is left; who does not is no longer there.
      setTimeout(() => {
        for (const close of viewers) void close()
      }, graceMs).unref()
    },
    async open({ scrollback }) {
      if (path === undefined) throw noConsole()
      const viewer = await openConsoleViewer(log, { scrollback, write: type, onClose: () => leave(close) })
      const close = () => viewer.close()
      viewers.add(close)
      return viewer
    },
  }
}
