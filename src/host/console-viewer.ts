import type { ByteStream } from '../driver/index.ts'
import { VisorError } from '../model/index.ts'
import type { ConsoleLog } from './console-log.ts'

export interface ConsoleViewerOptions {
  /** Begin with what is kept; else with what is printed from now on. */
  readonly scrollback: boolean
  /** Hands what is typed to the guest; resolves when it is handed on. */
  write(bytes: Uint8Array): Promise<void>
  /** The viewer was closed; called once. */
  onClose?(): void
}

/**
 * A viewer at a console: what is printed comes from its log, what is typed goes where `write` puts it. Nothing
 * printed after this resolved is missed. Writing fails with `invalid-state` once it is closed.
 */
export async function openConsoleViewer(
  log: ConsoleLog,
  { scrollback, write, onClose }: ConsoleViewerOptions,
): Promise<ByteStream> {
  // Known before anybody types, so that the answer is not missed.
  const from = await log.size()
  const closing = new AbortController()
  const output = log.follow({ scrollback, from, signal: closing.signal })
  return {
    async write(bytes) {
      if (closing.signal.aborted) throw new VisorError('invalid-state', 'The console is closed.')
      await write(bytes)
    },
    async close() {
      if (closing.signal.aborted) return
      closing.abort()
      onClose?.()
      await output.return()
    },
    // Who stops iterating may begin again; only `close` ends it.
    [Symbol.asyncIterator]: () => ({
      next: () => output.next(),
      return: async () => ({ done: true, value: undefined }),
    }),
  }
}
