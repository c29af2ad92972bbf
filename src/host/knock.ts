/** Whether a program answers at an address. */
import { createConnection } from 'node:net'
import { errorNumber } from './files.ts'

const patienceMs = 2_000

export type Knocked =
  | { readonly answer: 'open'; readonly said: string }
  | { readonly answer: 'refused' | 'silent' | 'unreachable' }

/** Connects by TCP and ends the connection; with `listen`, when the other side has said something. Never fails. */
export function knock(
  address: string,
  port: number,
  { listen, signal }: { readonly listen: boolean; readonly signal?: AbortSignal | undefined },
): Promise<Knocked> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: address, port, ...(signal && { signal }) })
    let connected = false
    const end = (knocked: Knocked) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(knocked)
    }
    const timer = setTimeout(
      () => end(connected ? { answer: 'open', said: '' } : { answer: 'silent' }),
      patienceMs,
    )
    socket
      .on('connect', () => {
        connected = true
        if (!listen) end({ answer: 'open', said: '' })
      })
      .on('data', (bytes) => end({ answer: 'open', said: bytes.toString('latin1').slice(0, 255) }))
      .on('end', () => end({ answer: 'open', said: '' }))
      .on('error', (error) => {
        const number = errorNumber(error)
        if (number === 'ECONNREFUSED') return end({ answer: 'refused' })
        const isAway = number === 'EHOSTUNREACH' || number === 'ENETUNREACH' || number === 'EACCES'
        end({ answer: isAway ? 'unreachable' : 'silent' })
      })
  })
}
