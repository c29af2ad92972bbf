/**
 * What a guest printed on its console: a file that the guest's own process appends to, so it is complete
 * whether or not a daemon runs. Viewers read the file, each at its own pace: a slow one holds up nobody.
 *
 * The file is kept small by giving its head back to the file system (a hole, fallocate(2)), which is safe
 * while the guest writes and keeps every position. Its size as listed grows; the space it takes does not.
 */
import { type FSWatcher, watch } from 'node:fs'
import { type FileHandle, open, stat, truncate } from 'node:fs/promises'
import { unlessMissing } from './files.ts'
import { run } from './process.ts'

const chunkBytes = 64 * 1024
const blockBytes = 4096

export interface FollowOptions {
  /** Begin with what is kept; else with what is printed from now on. */
  readonly scrollback?: boolean
  /** Begin here: an earlier {@link ConsoleLog.size}. */
  readonly from?: number
  readonly signal?: AbortSignal
}

export interface ConsoleLog {
  readonly path: string
  /** The last bytes of what is kept, at most `maxBytes`. */
  tail(maxBytes?: number): Promise<Uint8Array>
  /** How much was printed so far. */
  size(): Promise<number>
  /** What is printed, until {@link end} and everything was read, or `signal`. A viewer that falls behind what is kept misses the part between. */
  follow(options?: FollowOptions): AsyncGenerator<Uint8Array, void>
  /** Gives back what is beyond the kept bytes; cheap when there is little. */
  trim(): Promise<void>
  /** The guest is gone: viewers get what is left and end. */
  end(): void
}

/** The log at `path`, of which at least the last `keepBytes` are kept (and up to twice as many). */
export function openConsoleLog(path: string, keepBytes: number = 1024 * 1024): ConsoleLog {
  const wakes = new Set<() => void>()
  let ended = false
  let watcher: FSWatcher | undefined

  async function size(): Promise<number> {
    return (await unlessMissing(stat(path)))?.size ?? 0
  }

  /** inotify while somebody looks; where there is none left, looking now and then. */
  function startWatching(): () => void {
    const wake = () => {
      for (const each of wakes) each()
    }
    try {
      watcher ??= watch(path, { persistent: false }, wake).on('error', () => {})
    } catch {
      // Out of inotify watches: the timer of the follower alone then.
    }
    return wake
  }

  async function* follow({
    scrollback = false,
    from,
    signal,
  }: FollowOptions = {}): AsyncGenerator<Uint8Array> {
    const file = await unlessMissing(open(path, 'r'))
    if (!file) return
    const waiter = newWaiter(signal)
    wakes.add(waiter.wake)
    startWatching()
    try {
      const length = (await file.stat()).size
      let position = scrollback ? Math.max(0, length - keepBytes) : (from ?? length)
      while (!signal?.aborted) {
        const last = ended
        const now = (await file.stat()).size
        // Emptied for a new start of the guest.
        if (now < position) position = 0
        position = Math.max(position, now - 2 * keepBytes)
        const perhapsHole = position > 0 && now - position > keepBytes - chunkBytes
        const chunk = await readAt(file, position, Math.min(now - position, chunkBytes))
        position += chunk.length
        const shown = perhapsHole ? withoutHole(chunk) : chunk
        if (shown.length > 0) yield shown
        else if (chunk.length === 0 && last) return
        else if (chunk.length === 0) await waiter.wait()
      }
    } finally {
      wakes.delete(waiter.wake)
      waiter.close()
      if (wakes.size === 0) {
        watcher?.close()
        watcher = undefined
      }
      await file.close()
    }
  }

  return {
    path,
    size,
    follow,
    async tail(maxBytes = keepBytes) {
      const file = await unlessMissing(open(path, 'r'))
      if (!file) return new Uint8Array()
      try {
        const length = (await file.stat()).size
        const wanted = Math.min(maxBytes, keepBytes, length)
        const bytes = await readAt(file, length - wanted, wanted)
        return wanted < length ? withoutHole(bytes) : bytes
      } finally {
        await file.close()
      }
    },
    async trim() {
      const { size: length = 0, blocks = 0 } = (await unlessMissing(stat(path))) ?? {}
      if (blocks * 512 <= 2 * keepBytes) return
      const head = Math.floor((length - keepBytes) / blockBytes) * blockBytes
      if (head > 0) await giveBackHead(path, head, keepBytes)
    },
    end() {
      ended = true
      for (const wake of wakes) wake()
    },
  }

  async function giveBackHead(file: string, head: number, keep: number): Promise<void> {
    const args = ['--punch-hole', '--offset', '0', '--length', String(head), file]
    const result = await run('fallocate', args).catch(() => undefined)
    // A file system without holes: what the guest prints between these two lines is lost.
    if (result?.code !== 0 && (await size()) > 4 * keep) await truncate(file, 0)
  }
}

interface Waiter {
  readonly wake: () => void
  wait(): Promise<void>
  close(): void
}

/** Waits for a wake, which may also have come before; or for a while at most, when no notice can be had. */
function newWaiter(signal: AbortSignal | undefined): Waiter {
  let woken = false
  let resolve: (() => void) | undefined
  const wake = () => {
    woken = true
    resolve?.()
  }
  signal?.addEventListener('abort', wake)
  return {
    wake,
    async wait() {
      if (!woken) {
        let timer: NodeJS.Timeout | undefined
        await new Promise<void>((done) => {
          resolve = done
          timer = setTimeout(done, 500)
        })
        clearTimeout(timer)
        resolve = undefined
      }
      woken = false
    },
    close: () => signal?.removeEventListener('abort', wake),
  }
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafe(Math.max(0, length))
  const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
  return buffer.subarray(0, bytesRead)
}

/** Without the zero bytes at the beginning, which is how a hole reads. */
function withoutHole(bytes: Uint8Array): Uint8Array {
  const start = bytes.findIndex((byte) => byte !== 0)
  return start < 0 ? bytes.subarray(bytes.length) : bytes.subarray(start)
}
