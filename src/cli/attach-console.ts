import type { ByteStream, CompleteConnection, ConsoleOptions } from '../driver/index.ts'
import { dropQueries } from '../host/index.ts'
import { toVisorError } from '../model/index.ts'
import type { Context } from './context.ts'
import type { Output } from './output.ts'

/** Ctrl-] leaves, as in virsh and telnet. */
const escapeByte = 0x1d
/** The same key from a terminal in the kitty keyboard mode, which a guest can switch on. */
const escapeSequence = Buffer.from('\u001b[93;5u')
/** Colours, cursor, keypad, mouse and paste modes, which a guest may have left changed. */
const softReset =
  '\u001b[0m\u001b[?25h\u001b[?1l\u001b>\u001b[?1000l\u001b[?1002l\u001b[?1006l\u001b[?2004l\u001b[<u'
/** After the end of piped input, the guest's answer is over when nothing came for so long. */
const silenceMs = 1_000

export interface AttachOptions extends ConsoleOptions {
  /** Stay after the end of piped input, until the machine is off. */
  readonly follow?: boolean
}

type Ending = 'left' | 'ended' | 'input-ended' | 'cancelled'

/**
 * Joins the terminal (or, with pipes, standard input and output) to a domain's serial console until Ctrl-],
 * the end of the machine or of the input. The terminal is as before in every case.
 */
export async function attachConsole(
  context: Context,
  name: string,
  options: AttachOptions = {},
): Promise<void> {
  const { follow = false, ...opening } = options
  await context.connected(async (connection) => {
    const { stdin } = process
    const opened = { scrollback: true, ...opening }
    const unanswered = await countUnanswered(connection, name, opened)
    const stream = await connection.domains.openConsole(name, opened)
    const terminal = Boolean(stdin.isTTY)
    if (terminal) greet(context.output, name)
    const restore = terminal ? enterRawMode() : () => {}
    let ending: Ending
    try {
      ending = await join(stream, context.signal, terminal, follow, dropQueries(unanswered))
    } finally {
      restore()
      await stream.close().catch(() => {})
      stdin.pause()
    }
    if (terminal) context.output.note(farewell(context.output, name, ending))
  })
}

/**
 * How much of the output is shown without the questions to the terminal, whose answers come over standard
 * input: what the guest asked earlier, and all when standard input is not the terminal, as the answers would
 * reach the user's shell.
 */
async function countUnanswered(
  { domains }: CompleteConnection,
  name: string,
  { scrollback, device }: ConsoleOptions,
): Promise<number> {
  if (!process.stdin.isTTY && process.stdout.isTTY) return Number.POSITIVE_INFINITY
  if (!scrollback) return 0
  const log = await domains.consoleLog(name, device === undefined ? {} : { device }).catch(() => undefined)
  return log?.length ?? 0
}

function greet({ noteColours: { dim }, note }: Output, name: string): void {
  note(dim(`[console of ${name}; Ctrl-] leaves]`))
}

function farewell({ noteColours: { dim } }: Output, name: string, ending: Ending): string {
  return dim(ending === 'ended' ? `[the console of ${name} ended]` : `[left the console of ${name}]`)
}

/** Every key goes to the guest; the result puts the terminal back, and runs at the latest when the process exits. */
function enterRawMode(): () => void {
  const { stdin, stdout } = process
  stdin.setRawMode(true)
  const restore = () => {
    process.off('exit', restore)
    try {
      stdin.setRawMode(false)
      // On a line of its own, whatever the guest left on the last one.
      if (stdout.isTTY) stdout.write(`${softReset}\r\n`)
    } catch {
      // The terminal itself is gone.
    }
  }
  process.on('exit', restore)
  return restore
}

async function join(
  stream: ByteStream,
  signal: AbortSignal,
  terminal: boolean,
  follow: boolean,
  filter: (bytes: Uint8Array) => Uint8Array,
): Promise<Ending> {
  const { promise, resolve, reject } = Promise.withResolvers<Ending>()
  let silence: NodeJS.Timeout | undefined
  const heard = () => silence?.refresh()
  const onEnd = () => {
    if (!follow) silence = setTimeout(() => resolve('input-ended'), silenceMs)
  }
  const onAbort = () => resolve('cancelled')
  const input = pumpInput(stream, terminal, () => resolve('left'), onEnd, reject)
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  void pumpOutput(stream, filter, heard).then(() => resolve('ended'), reject)
  try {
    return await promise
  } finally {
    clearTimeout(silence)
    input.stop()
    signal.removeEventListener('abort', onAbort)
  }
}

/** Standard input to the guest, in order, no faster than it takes it. */
function pumpInput(
  stream: ByteStream,
  terminal: boolean,
  leave: () => void,
  onEnd: () => void,
  onError: (error: unknown) => void,
): { stop(): void } {
  const { stdin } = process
  const onData = (chunk: Buffer) => {
    const cut = terminal ? findEscape(chunk) : -1
    const bytes = cut < 0 ? chunk : chunk.subarray(0, cut)
    stdin.pause()
    const written = bytes.length > 0 ? stream.write(bytes) : Promise.resolve()
    written.then(cut < 0 ? () => stdin.resume() : leave, (error) => onError(toVisorError(error)))
  }
  const afterEnd = () => onEnd()
  stdin.on('data', onData)
  stdin.once('end', afterEnd)
  stdin.resume()
  return {
    stop() {
      stdin.off('data', onData)
      stdin.off('end', afterEnd)
      stdin.pause()
    },
  }
}

/** Where the key that leaves stands in what was typed; -1 when it is not there. */
export function findEscape(chunk: Uint8Array): number {
  const byte = chunk.indexOf(escapeByte)
  return byte >= 0 ? byte : Buffer.from(chunk).indexOf(escapeSequence)
}

async function pumpOutput(
  stream: ByteStream,
  filter: (bytes: Uint8Array) => Uint8Array,
  heard: () => void,
): Promise<void> {
  const { stdout } = process
  for await (const bytes of stream) {
    heard()
    if (!stdout.write(filter(bytes))) await new Promise((resolve) => stdout.once('drain', resolve))
  }
}
