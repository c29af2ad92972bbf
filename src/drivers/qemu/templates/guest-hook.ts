/**
 * Talks to the hook in a guest, over the virtio port 'org.visor.guest.0': lines of one word and what belongs
 * to it. The guest does what it knows and passes over the rest; `ping` and `done` are answered with `pong`
 * and `done` and the word that came with them. What the guest says is bounded, and believed for nothing else.
 */
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { connectGuestSocket } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import type { Machine } from '../machine/machine.ts'
import { lineCutter } from '../qmp/index.ts'

export const hookChannel = 'org.visor.guest.0'
const longestLine = 4096

export interface GuestHook {
  /** Sends lines; resolves when the guest has done them all. Fails with `unavailable` when it does not answer in time. */
  tell(lines: readonly string[], timeoutMs: number): Promise<void>
  /** Whether somebody answers within this time. */
  ping(timeoutMs: number): Promise<boolean>
  /** Sends a line that is not waited for. */
  post(line: string): void
  close(): void
}

/** Connects to the socket of the channel, of the guest itself. Fails with `unavailable` when there is none. */
export async function connectHook(path: string, { guest, details }: Pick<Machine, 'guest' | 'details'>) {
  const { name } = details.definition
  const socket = await connectGuestSocket(path, guest.identity).catch((cause: unknown) => {
    throw silent(name, cause)
  })
  return guestHook(socket, name)
}

function guestHook(socket: Socket, name: string): GuestHook {
  const lines = lineCutter(longestLine)
  const waiting = new Map<string, () => void>()
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const line of lines.cut(chunk)) waiting.get(line.trim())?.()
    } catch {
      socket.destroy()
    }
  })

  function ask(before: readonly string[], word: 'ping' | 'done', timeoutMs: number): Promise<void> {
    const token = randomBytes(8).toString('hex')
    const answer = `${word === 'ping' ? 'pong' : 'done'} ${token}`
    return new Promise((resolve, reject) => {
      const settle = (error?: VisorError) => {
        clearTimeout(timer)
        waiting.delete(answer)
        socket.off('close', onClose)
        if (error) reject(error)
        else resolve()
      }
      const onClose = () => settle(silent(name))
      const timer = setTimeout(onClose, timeoutMs)
      waiting.set(answer, () => settle())
      socket.once('close', onClose)
      if (socket.destroyed) return settle(silent(name))
      socket.write(`${[...before, `${word} ${token}`].join('\n')}\n`)
    })
  }

  return {
    tell: (before, timeoutMs) => ask(before, 'done', timeoutMs),
    ping: (timeoutMs) =>
      ask([], 'ping', timeoutMs).then(
        () => true,
        () => false,
      ),
    post: (line) => void socket.write(`${line}\n`),
    // What was posted still goes out.
    close: () => void socket.end(() => socket.destroy()),
  }
}

function silent(name: string, cause?: unknown) {
  return new VisorError('unavailable', `The hook in domain '${name}' does not answer.`, {
    cause,
    remedy: 'docs/live-clones.md says what a guest needs in order to take on an identity of its own.',
  })
}
