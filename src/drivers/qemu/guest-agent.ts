/** Asks the agent in a guest, over its channel. Source: QEMU's docs/interop/qemu-ga-ref. */
import { randomInt } from 'node:crypto'
import { createConnection, type Socket } from 'node:net'
import { VisorError } from '../../model/index.ts'
import { isRecord, lineCutter } from './qmp/index.ts'

export const agentChannel = 'org.qemu.guest_agent.0'
const longestLine = 1024 * 1024

/**
 * Asks the agent to power off or reboot. Resolves when it has been told; it does not answer to this. Fails
 * with `unavailable` when no agent answers in time.
 */
export async function askAgent(
  path: string,
  name: string,
  mode: 'powerdown' | 'reboot',
  timeoutMs: number,
): Promise<void> {
  const socket = createConnection(path)
  let timer: NodeJS.Timeout | undefined
  const failure = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(silent(name)), timeoutMs)
    socket.once('error', (cause) => reject(silent(name, cause)))
    socket.once('close', () => reject(silent(name)))
  })
  failure.catch(() => {})
  try {
    const id = randomInt(1, 2 ** 31)
    const synced = waitForSync(socket, id)
    synced.catch(() => {})
    // The byte 0xff makes the agent forget what somebody else may have begun to say.
    socket.write(Buffer.concat([Buffer.from([0xff]), command('guest-sync-delimited', { id })]))
    await Promise.race([synced, failure])
    await new Promise<void>((resolve) => socket.write(command('guest-shutdown', { mode }), () => resolve()))
  } finally {
    clearTimeout(timer)
    socket.end()
    setTimeout(() => socket.destroy(), 200).unref()
  }
}

function command(execute: string, args: object): Buffer {
  return Buffer.from(`${JSON.stringify({ execute, arguments: args })}\n`)
}

/** Resolves with the answer of this number; what comes before is not for us. */
function waitForSync(socket: Socket, id: number): Promise<void> {
  const lines = lineCutter(longestLine)
  return new Promise((resolve, reject) => {
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const line of lines.cut(chunk)) if (isAnswer(line, id)) resolve()
      } catch (error) {
        reject(error)
      }
    })
  })
}

function isAnswer(line: string, id: number): boolean {
  try {
    const answer: unknown = JSON.parse(line.slice(Math.max(0, line.lastIndexOf('\ufffd') + 1)))
    return isRecord(answer) && answer.return === id
  } catch {
    return false
  }
}

function silent(name: string, cause?: unknown): VisorError {
  return new VisorError('unavailable', `The guest agent of domain '${name}' does not answer.`, {
    cause,
    remedy: "Install and start qemu-guest-agent in the guest, or use the mode 'acpi'.",
  })
}
