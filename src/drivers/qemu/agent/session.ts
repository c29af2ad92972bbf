/**
 * Talks to the agent in a guest, over its channel. Source: QEMU's docs/interop/qemu-ga-ref.
 *
 * The guest is not trusted: what it says is bounded in length and in time, and read as data only.
 */
import { randomInt } from 'node:crypto'
import { createConnection, type Socket } from 'node:net'
import { connectGuestSocket, type ProcessIdentity } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import { isRecord, type LineCutter, lineCutter } from '../qmp/index.ts'

export const agentChannel = 'org.qemu.guest_agent.0'
/** An agent's answer to a read of a file is its largest. */
const longestLine = 16 * 1024 * 1024

export interface AgentSession {
  /** Asks; fails with `failed` and the agent's words when it refuses, `unavailable` when it does not answer in time. */
  execute(command: string, args?: object, options?: { readonly timeoutMs?: number }): Promise<unknown>
  /** Tells it what it does not answer to. */
  tell(command: string, args: object): Promise<void>
}

export interface AgentOptions {
  /** Name of the domain, for messages. */
  readonly name: string
  /** Socket of the channel. */
  readonly path: string
  /** The process that is to be at the other end. */
  readonly guest?: ProcessIdentity
  /** Time for each answer. */
  readonly timeoutMs: number
}

/** A session that its user ends. */
export interface OpenSession extends AgentSession {
  /** Makes sure that an agent listens, which has to be done first. Fails with `unavailable` when none does. */
  sync(timeoutMs: number): Promise<void>
  close(): void
}

/** Connects, makes sure that an agent listens, and lets go again afterwards. Fails with `unavailable` when none does. */
export async function withSession<T>(
  options: AgentOptions,
  work: (session: AgentSession) => Promise<T>,
): Promise<T> {
  const session = await openSession(options)
  try {
    await session.sync(options.timeoutMs)
    return await work(session)
  } finally {
    session.close()
  }
}

/** Connects. Fails with `unavailable` when there is nothing to connect to. */
export async function openSession({ name, path, timeoutMs, guest }: AgentOptions): Promise<OpenSession> {
  const connected = guest ? connectGuestSocket(path, guest) : createConnection(path)
  const socket = await Promise.resolve(connected).catch((cause) => {
    throw silent(name, cause)
  })
  const line = openLine(name, socket)
  return {
    async sync(patienceMs) {
      const id = randomInt(1, 2 ** 31)
      // The byte 0xff makes the agent forget what somebody else may have begun to say.
      const sync = Buffer.concat([Buffer.from([0xff]), encode('guest-sync-delimited', { id })])
      await line.ask(sync, patienceMs, (answer) => answer.return === id)
    },
    async execute(command, args, options = {}) {
      const answer = await line.ask(encode(command, args), options.timeoutMs ?? timeoutMs, () => true)
      if ('error' in answer) throw refused(name, command, answer.error)
      return answer.return
    },
    tell: (command, args) => line.write(encode(command, args)),
    close: () => line.close(),
  }
}

type Answer = Record<string, unknown>

interface Line {
  write(bytes: Uint8Array): Promise<void>
  /** The next answer that fits. */
  ask(bytes: Uint8Array, timeoutMs: number, fits: (answer: Answer) => boolean): Promise<Answer>
  close(): void
}

function openLine(name: string, socket: Socket): Line {
  const lines = lineCutter(longestLine)
  let listen: ((answer: Answer) => void) | undefined
  let fail: (error: VisorError) => void = () => {}
  const broken = new Promise<never>((_, reject) => {
    fail = reject
  })
  broken.catch(() => {})
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const answer of readAnswers(lines, chunk)) listen?.(answer)
    } catch (cause) {
      fail(silent(name, cause))
      socket.destroy()
    }
  })
  socket.once('error', (cause) => fail(silent(name, cause)))
  socket.once('close', () => fail(silent(name)))

  function write(bytes: Uint8Array): Promise<void> {
    const written = new Promise<void>((resolve) => socket.write(bytes, () => resolve()))
    return Promise.race([written, broken])
  }

  return {
    write,
    async ask(bytes, timeoutMs, fits) {
      let timer: NodeJS.Timeout | undefined
      const answered = new Promise<Answer>((resolve, reject) => {
        timer = setTimeout(() => reject(silent(name)), timeoutMs)
        listen = (answer) => {
          if (fits(answer)) resolve(answer)
        }
      })
      try {
        // Not waited for: a socket that nobody reads takes no more.
        void write(bytes).catch(() => {})
        return await Promise.race([answered, broken])
      } finally {
        clearTimeout(timer)
        listen = undefined
      }
    },
    close() {
      socket.end()
      setTimeout(() => socket.destroy(), 200).unref()
    },
  }
}

/** What the agent said; what is no answer, such as the rest of somebody else's, is passed over. */
function readAnswers(lines: LineCutter, chunk: Buffer): Answer[] {
  return lines.cut(chunk).flatMap((line) => {
    try {
      // The byte 0xff, in front of the answer to a sync, is no UTF-8.
      const answer: unknown = JSON.parse(line.slice(line.lastIndexOf('\ufffd') + 1))
      return isRecord(answer) && ('return' in answer || 'error' in answer) ? [answer] : []
    } catch {
      return []
    }
  })
}

function encode(execute: string, args: object = {}): Buffer {
  return Buffer.from(`${JSON.stringify({ execute, arguments: args })}\n`)
}

function silent(name: string, cause?: unknown): VisorError {
  return new VisorError('unavailable', `The guest agent of domain '${name}' does not answer.`, {
    cause,
    remedy: 'Install and start qemu-guest-agent in the guest.',
  })
}

function refused(name: string, command: string, error: unknown): VisorError {
  const { class: kind, desc } = isRecord(error) ? error : {}
  const said = String(desc ?? 'no reason given').slice(0, 1000)
  if (kind === 'CommandNotFound')
    return new VisorError('unavailable', `The guest agent of domain '${name}' does not know ${command}.`, {
      remedy: 'Use a newer qemu-guest-agent in the guest, or allow the command in its configuration.',
    })
  return new VisorError(
    'failed',
    `The guest agent of domain '${name}' could not do it (${command}): ${said}`,
    {
      object: { kind: 'domain', name },
    },
  )
}
