/** Ethernet packets that this process itself sends and receives: the other end of a link of the host, or of a socket. */
import { readSync, writeSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { loadCalls } from './syscall.ts'

/** Where packets go. Those that the other end has no room for are lost, as on a cable. */
export interface Packets {
  send(packet: Uint8Array): void
  /** Nothing is received from now on. The file or stream is the caller's to close, once this has resolved. */
  close(): Promise<void>
}

/** The longest packet, with its header. */
const mostBytes = 65_550
const POLLIN = 1
/** How long a waiting thread looks away from the end of this process. */
const waitMs = 100
/** So many are taken before other work of this process has its turn. */
const batch = 64

/**
 * Takes packets from an open tap without a header of its own (`plain` of {@link openTap}). Node can only read a
 * character device by a thread that waits; this one waits in poll(2), so that the end of the process does not
 * wait for a packet.
 */
export async function tapPackets(fd: number, receive: (packet: Uint8Array) => void): Promise<Packets> {
  const { poll } = await loadCalls()
  const waitFor = Buffer.alloc(8)
  waitFor.writeInt32LE(fd, 0)
  waitFor.writeInt16LE(POLLIN, 4)
  const buffer = Buffer.alloc(mostBytes)
  let isOpen = true

  /** False when there is nothing left. */
  function take(): boolean {
    try {
      const length = readSync(fd, buffer, 0, mostBytes, null)
      if (length > 0) receive(new Uint8Array(buffer.subarray(0, length)))
      return length > 0
    } catch {
      // Nothing there (EAGAIN), or the link is down (EIO).
      return false
    }
  }
  const ended = (async () => {
    while (isOpen) {
      if ((await poll(waitFor, 1, waitMs)) <= 0) continue
      let taken = 0
      while (isOpen && taken < batch && take()) taken++
      // A link that is down is always readable.
      if (taken === 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
    }
  })()
  return {
    send(packet) {
      try {
        writeSync(fd, packet)
      } catch {
        // No room, or the link is down.
      }
    },
    async close() {
      isOpen = false
      await ended
    },
  }
}

/** What a stream that nobody reads may hold back, in bytes. */
const mostWaiting = 2 ** 20

/**
 * Packets on a stream, each behind its length in 4 bytes, highest first. Source: qemu(1), "-netdev stream".
 */
export function streamPackets(stream: Duplex, receive: (packet: Uint8Array) => void): Packets {
  let waiting: Buffer = Buffer.alloc(0)
  const hear = (bytes: Buffer) => {
    waiting = waiting.length === 0 ? bytes : Buffer.concat([waiting, bytes])
    for (;;) {
      const length = waiting.length < 4 ? Infinity : waiting.readUInt32BE(0)
      if (length > mostBytes && Number.isFinite(length)) return void stream.destroy()
      if (waiting.length < 4 + length) return
      receive(new Uint8Array(waiting.subarray(4, 4 + length)))
      waiting = waiting.subarray(4 + length)
    }
  }
  stream.on('data', hear)
  stream.on('error', () => {})
  return {
    send(packet) {
      if (stream.destroyed || stream.writableLength > mostWaiting) return
      const whole = Buffer.alloc(4 + packet.length)
      whole.writeUInt32BE(packet.length, 0)
      whole.set(packet, 4)
      stream.write(whole)
    },
    async close() {
      stream.off('data', hear)
    },
  }
}
