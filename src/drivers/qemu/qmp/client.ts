/**
 * A client of QEMU's monitor protocol (QMP). Source: QEMU's docs/interop/qmp-spec.
 *
 *              greeting                 answer to qmp_capabilities
 *   greeting -----------> negotiating ----------------------------> ready
 *      |                      |                                       |
 *      '----------------------'--- stream ends, nonsense, close() ----'--> closed
 *
 * Commands may be given at any time: those given before `ready` are sent right behind `qmp_capabilities`,
 * as QEMU answers in order. In `closed` every command fails, and those under way have failed.
 */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { sendFile } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import { lineCutter } from './lines.ts'
import { parseMessage, type QmpEvent, type QmpFailure, type QmpGreeting, type QmpMessage } from './message.ts'

export interface ExecuteOptions {
  /** Fails with `timeout` after this; 10 s without it. QEMU may still do it. */
  readonly timeoutMs?: number
  /** Fails with `cancelled`; QEMU may still do it. */
  readonly signal?: AbortSignal
  /** An open file that goes with it, for `getfd`: only over a unix socket. */
  readonly file?: number
}

export interface QmpClient {
  /** Resolves with the greeting; fails when there is none. */
  readonly greeting: Promise<QmpGreeting>
  /** Resolves when it is closed, with what went wrong when something did. */
  readonly closed: Promise<VisorError | undefined>
  /**
   * Gives what the command returns. Fails with `unsupported` when this QEMU does not know it, `failed` when
   * it refuses, `timeout`, `cancelled`, or `unavailable` when the monitor is closed.
   */
  execute(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    options?: ExecuteOptions,
  ): Promise<unknown>
  close(): void
}

export interface QmpOptions {
  /** Name of the guest, for messages. */
  readonly name: string
  readonly onEvent?: (event: QmpEvent) => void
  /** How long the greeting and the negotiation may take; 10 s without it. */
  readonly timeoutMs?: number
}

/** No answer of QEMU comes near this. */
const maxLineBytes = 16 * 2 ** 20
const defaultTimeoutMs = 10_000

interface Pending {
  readonly command: string
  readonly resolve: (value: unknown) => void
  readonly reject: (error: VisorError) => void
}

/** Speaks QMP over a stream, which it then owns. */
export function qmpClient(stream: Duplex, options: QmpOptions): QmpClient {
  const { name, onEvent = () => {}, timeoutMs = defaultTimeoutMs } = options
  const lines = lineCutter(maxLineBytes)
  const pending = new Map<number, Pending>()
  const waiting: string[] = []
  const greeting = Promise.withResolvers<QmpGreeting>()
  const closed = Promise.withResolvers<VisorError | undefined>()
  let state: 'greeting' | 'negotiating' | 'ready' | 'closed' = 'greeting'
  let lastId = 0

  function end(error?: VisorError): void {
    if (state === 'closed') return
    state = 'closed'
    clearTimeout(patience)
    const failure = error ?? gone(name)
    greeting.reject(failure)
    for (const { reject } of pending.values()) reject(failure)
    pending.clear()
    stream.destroy()
    closed.resolve(error)
  }

  function receive(chunk: Uint8Array): void {
    try {
      for (const line of lines.cut(chunk)) {
        if (state === 'closed') return
        if (line.trim() !== '') handle(parseMessage(line))
      }
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      end(new VisorError('failed', `The monitor of domain '${name}' broke: ${reason}`, { cause }))
    }
  }

  function handle(message: QmpMessage): void {
    if (message.kind === 'greeting') greet(message.greeting)
    else if (state === 'greeting') throw new VisorError('failed', 'It did not greet.')
    else if (message.kind === 'event') onEvent(message.event)
    else answer(message)
  }

  function answer(message: Extract<QmpMessage, { kind: 'return' | 'error' }>): void {
    const { id } = message
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 1 || id > lastId)
      throw new VisorError('failed', 'It answered what was not asked.')
    const asked = pending.get(id)
    // Absent: given up meanwhile.
    pending.delete(id)
    if (message.kind === 'return') asked?.resolve(message.value)
    else asked?.reject(refusal(name, asked.command, message.failure))
  }

  function greet(value: QmpGreeting): void {
    if (state !== 'greeting') throw new VisorError('failed', 'It greeted twice.')
    state = 'negotiating'
    const negotiated = ask('qmp_capabilities', undefined)
    negotiated.promise.then(
      () => {
        if (state === 'negotiating') state = 'ready'
        clearTimeout(patience)
      },
      (error: VisorError) => end(error),
    )
    stream.write([negotiated.line, ...waiting.splice(0)].join(''))
    greeting.resolve(value)
  }

  function ask(command: string, args: Readonly<Record<string, unknown>> | undefined) {
    const id = ++lastId
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    pending.set(id, { command, resolve, reject })
    return { id, promise, line: `${JSON.stringify({ execute: command, arguments: args, id })}\n` }
  }

  async function execute(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    { timeoutMs: limit = defaultTimeoutMs, signal, file }: ExecuteOptions = {},
  ): Promise<unknown> {
    if (state === 'closed') throw gone(name)
    if (signal?.aborted) throw cancelled(name, command)
    const { id, promise, line } = ask(command, args)
    if (file !== undefined) sendWith(file, id, line)
    else if (state === 'greeting') waiting.push(line)
    else stream.write(line)
    const giveUp = (error: VisorError) => {
      pending.get(id)?.reject(error)
      pending.delete(id)
    }
    const timer = setTimeout(() => giveUp(slow(name, command, limit)), limit)
    const onAbort = () => giveUp(cancelled(name, command))
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  function sendWith(file: number, id: number, line: string): void {
    const sent =
      stream instanceof Socket
        ? greeting.promise.then(() => sendFile(stream, line, file))
        : Promise.reject(new Error('it is no socket'))
    sent.catch((cause: Error) => {
      const asked = pending.get(id)
      pending.delete(id)
      const what = `The monitor of domain '${name}' took no open file: ${cause.message}.`
      asked?.reject(new VisorError('failed', what, { cause }))
    })
  }

  const patience = setTimeout(() => end(slow(name, 'qmp_capabilities', timeoutMs)), timeoutMs)
  greeting.promise.catch(() => {})
  stream.on('data', receive)
  stream.on('error', (cause) =>
    end(new VisorError('unavailable', `The monitor of domain '${name}' broke: ${cause.message}.`, { cause })),
  )
  stream.on('end', () => end())
  stream.on('close', () => end())
  return { greeting: greeting.promise, closed: closed.promise, execute, close: () => end() }
}

function refusal(name: string, command: string, { class: kind, description }: QmpFailure): VisorError {
  if (kind === 'CommandNotFound')
    return new VisorError(
      'unsupported',
      `The QEMU that runs domain '${name}' does not know the command '${command}'.`,
    )
  const sentence = description.replace(/[.\s]+$/u, '')
  return new VisorError('failed', `QEMU refused '${command}' for domain '${name}': ${sentence}.`)
}

function gone(name: string): VisorError {
  return new VisorError('unavailable', `The monitor of domain '${name}' is closed: its QEMU has ended.`)
}

function cancelled(name: string, command: string): VisorError {
  return new VisorError('cancelled', `'${command}' for domain '${name}' was cancelled.`)
}

function slow(name: string, command: string, limit: number): VisorError {
  return new VisorError(
    'timeout',
    `QEMU did not answer '${command}' for domain '${name}' within ${limit / 1000} s.`,
  )
}
