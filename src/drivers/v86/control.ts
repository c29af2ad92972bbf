/** The driver's end of the line to a machine's process. */
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { VisorError } from '../../model/index.ts'
import { type Command, formatLine, lineReader, type MachineEvent, type Reply } from './protocol.ts'

export interface Control {
  /** Asks the machine. Fails with the machine's own error, `timeout` when it does not answer, `unavailable` when it is gone. */
  ask(command: Command, timeoutMs?: number): Promise<unknown>
  close(): void
}

interface Waiting {
  resolve(result: unknown): void
  reject(error: VisorError): void
}

/** A guest in a tight loop lets its process answer every few milliseconds; this is for one that is stopped. */
const patienceMs = 20_000

/** Speaks over an open stream. `onEvent` hears what the machine tells by itself. */
export function openControl(stream: Duplex, onEvent: (event: MachineEvent) => void): Control {
  const waiting = new Map<number, Waiting>()
  const read = lineReader()
  let next = 1
  let gone = false

  const lose = () => {
    gone = true
    for (const { reject } of waiting.values()) reject(lost())
    waiting.clear()
  }
  const hear = (message: object) => {
    if ('event' in message) return onEvent(message as MachineEvent)
    const reply = message as Reply
    const asked = waiting.get(reply.id)
    waiting.delete(reply.id)
    if ('error' in reply) asked?.reject(new VisorError(reply.error.code, reply.error.message))
    else asked?.resolve(reply.result)
  }
  stream.on('error', () => {})
  stream.on('close', lose)
  stream.on('end', lose)
  stream.on('data', (bytes: Uint8Array) => {
    try {
      for (const message of read(bytes)) hear(message)
    } catch {
      stream.destroy()
    }
  })

  return {
    ask(command, timeoutMs = patienceMs) {
      return new Promise((resolve, reject) => {
        if (gone) return reject(lost())
        const id = next++
        const timer = setTimeout(() => {
          waiting.delete(id)
          reject(
            new VisorError('timeout', `The machine did not answer within ${timeoutMs / 1000} s.`, {
              remedy: 'Destroy it if it does not come back.',
            }),
          )
        }, timeoutMs)
        const settle =
          <A>(then: (value: A) => void) =>
          (value: A) => {
            clearTimeout(timer)
            then(value)
          }
        waiting.set(id, { resolve: settle(resolve), reject: settle(reject) })
        stream.write(formatLine({ ...command, id }))
      })
    },
    close() {
      stream.destroy()
      lose()
    },
  }
}

/** Connects to the socket of a machine. Fails with `unavailable` when nobody listens. */
export function connectControl(path: string, onEvent: (event: MachineEvent) => void): Promise<Control> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('error', (cause) =>
      reject(new VisorError('unavailable', `The machine does not listen on '${path}'.`, { cause })),
    )
    socket.once('connect', () => resolve(openControl(socket, onEvent)))
  })
}

function lost(): VisorError {
  return new VisorError('unavailable', 'The machine has gone.')
}
