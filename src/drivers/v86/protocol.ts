/**
 * What the driver and a machine's process say to each other: one JSON document a line, in both directions.
 * Requests have a number, which their answer repeats; events have none.
 */
import { StringDecoder } from 'node:string_decoder'
import { type ErrorCode, VisorError } from '../../model/index.ts'

export type Command =
  | {
      readonly do: 'status' | 'suspend' | 'resume' | 'reset' | 'read-screen' | 'take-picture'
    }
  /** With `restart`, the machine begins anew when the guest has powered off. */
  | { readonly do: 'press-power-button'; readonly restart?: true }
  /** Types bytes, in base64, into a serial port. */
  | { readonly do: 'type'; readonly port: number; readonly data: string }
  /** Writes the state to a file, whole or not at all, with this header, and ends the machine. */
  | { readonly do: 'save'; readonly file: string; readonly header: string }
export type Request = Command & { readonly id: number }

export type Reply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: { readonly code: ErrorCode; readonly message: string } }

/** `ready` is the first, when the processor runs or could; `failed` comes in its place. */
export type MachineEvent =
  | { readonly event: 'ready' | 'suspended' | 'resumed' | 'rebooted' }
  | { readonly event: 'failed'; readonly error: { readonly code: ErrorCode; readonly message: string } }

export interface MachineStatus {
  readonly state: 'running' | 'paused'
  readonly disks: Readonly<Record<string, DiskCounters>>
  readonly card?: CardCounters
}

export interface CardCounters {
  readonly rxPackets: number
  readonly rxBytes: number
  readonly txPackets: number
  readonly txBytes: number
}

export interface DiskCounters {
  readonly readRequests: number
  readonly readBytes: number
  readonly writeRequests: number
  readonly writeBytes: number
}

/** How a machine ended, which it writes before it does: `end.json` in its directory. */
export interface MachineEnd {
  readonly reason: 'shutdown' | 'saved' | 'failed'
  readonly message?: string
}
export const endName = 'end.json'
export const controlName = 'control.sock'
export const configName = 'machine.json'

/** The longest line: a picture of the largest screen. */
const maxLineBytes = 32 * 2 ** 20

export function formatLine(message: Request | Reply | MachineEvent): string {
  return `${JSON.stringify(message)}\n`
}

/**
 * Takes bytes as they come and gives the messages that are complete. Throws a `failed` error at a line that
 * is too long or no JSON object: the other side is broken, and its connection must be closed.
 */
export function lineReader(limit: number = maxLineBytes): (bytes: Uint8Array) => object[] {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  return (bytes) => {
    const lines = (rest + decoder.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))).split(
      '\n',
    )
    rest = lines.pop() ?? ''
    if (rest.length > limit) throw new VisorError('failed', 'The machine sent a line that is too long.')
    return lines.filter((line) => line !== '').map(parseLine)
  }
}

function parseLine(line: string): object {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch {
    // Told below.
  }
  throw new VisorError('failed', 'The machine sent a line that is no message.')
}
