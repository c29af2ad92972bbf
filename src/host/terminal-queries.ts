/**
 * What a guest once printed, shown again without the questions in it: a terminal answers those to whoever
 * reads its keyboard by now, such as the user's own shell.
 *
 * Source: the parser of ECMA-48 and DEC's terminals, with the questions of xterm's ctlseqs.
 */

const escapeByte = 0x1b
const enquiry = 0x05
const bell = 0x07
/** Both end a sequence without effect. */
const cancel = 0x18
const substitute = 0x1a
/** First of the two bytes of a control character of C1 in UTF-8; the second is that of the character. */
const c1Lead = 0xc2
const backslash = 0x5c

/** A longer control sequence or command is none that a guest needs. */
const maxControl = 256
const maxCommand = 8192

/** `text`: of no sequence; `string`: of one that is dropped as a whole. */
type Place = 'text' | 'c1' | 'escape' | 'control' | 'command' | 'string'

const introducers = new Map<number, Place>([
  [0x5b, 'control'],
  [0x5d, 'command'],
  // DCS, SOS, PM, APC: settings asked for, or pictures, which are acknowledged.
  [0x50, 'string'],
  [0x58, 'string'],
  [0x5e, 'string'],
  [0x5f, 'string'],
])
/** `ESC Z`, an old form of `CSI c`. */
const identify = 0x5a

/** Control sequences that ask, without their numbers: private mark, intermediate characters, final character. */
const questions: ReadonlySet<string> = new Set([
  ...['n', '?n', 'c', '>c', '=c', '>q', 'x', '?u', '?m', '?g', '?S'],
  ...['$p', '?$p', '$u', '$w', '&u', '*y', '"v', "'|", '#|', '#R'],
])
/** What `CSI number t` tells of the window; other numbers change it. */
const windowReports = /^(?:1[13-689]|2[01])$/u
/** Commands whose parameter is free text, in which `?` asks nothing. */
const textCommands = /^(?:[012789]|133)\b/u
const asking = /[;=]\?|^6[01]\b|^1337;(?:Report|Request|Capabilities)/u

/**
 * Drops the questions from what is handed over, in parts as they come. After `limit` bytes, and the sequence
 * that had begun by then, everything passes.
 */
export function dropQueries(limit: number = Number.POSITIVE_INFINITY): (bytes: Uint8Array) => Uint8Array {
  let place: Place = 'text'
  let held: number[] = []
  let afterEscape = false
  let left = limit
  let output = Buffer.alloc(0)
  let length = 0

  const put = (byte: number) => {
    output[length++] = byte
  }

  /** The end of a sequence, which is shown or not. */
  function finish(shown: boolean): void {
    if (shown) for (const byte of held) put(byte)
    begin('text', [])
  }

  function begin(next: Place, bytes: readonly number[]): void {
    place = next
    held = [...bytes]
    afterEscape = false
  }

  function take(byte: number): void {
    if (byte === enquiry) return
    if (place === 'command' || place === 'string') takeString(byte)
    else if (place === 'c1') takeC1(byte)
    else if (byte === escapeByte) begin('escape', [byte])
    else if (place === 'text') takeText(byte)
    else if (byte === cancel || byte === substitute) finish(false)
    // A terminal obeys control characters in the midst of a sequence.
    else if (byte < 0x20) put(byte)
    else if (place === 'escape') takeIntroducer(byte, byte)
    else takeControl(byte)
  }

  function takeText(byte: number): void {
    if (byte === c1Lead) begin('c1', [byte])
    else put(byte)
  }

  function takeC1(byte: number): void {
    if (byte >= 0x80 && byte < 0xc0) takeIntroducer(byte, byte - 0x40)
    else {
      finish(true)
      take(byte)
    }
  }

  /** The second byte of what may be a sequence; `character` as it stands after ESC. */
  function takeIntroducer(byte: number, character: number): void {
    const next = introducers.get(character)
    held.push(byte)
    if (next) begin(next, held)
    else finish(character !== identify)
  }

  function takeControl(byte: number): void {
    held.push(byte)
    if (byte > 0x7e || held.length > maxControl) finish(false)
    else if (byte >= 0x40) finish(!isQuestion(held))
  }

  /** Up to BEL, ST, or what cancels it. */
  function takeString(byte: number): void {
    const ends = byte === backslash ? afterEscape : byte === 0x9c && held.at(-1) === c1Lead
    if (place === 'command') held.push(byte)
    else held = [byte]
    if (ends || byte === bell) finish(place === 'command' && !isAsking(held))
    else if (byte === cancel || byte === substitute) finish(false)
    else if (afterEscape) {
      begin('escape', [escapeByte])
      take(byte)
    } else if (held.length > maxCommand) place = 'string'
    else afterEscape = byte === escapeByte
  }

  return (bytes) => {
    if (left <= 0 && place === 'text') return bytes
    output = Buffer.allocUnsafe(held.length + bytes.length)
    length = 0
    let at = 0
    for (; at < bytes.length && (left > 0 || place !== 'text'); at++, left--) take(bytes[at] ?? 0)
    for (; at < bytes.length; at++) put(bytes[at] ?? 0)
    return output.subarray(0, length)
  }
}

function isQuestion(sequence: readonly number[]): boolean {
  const text = withoutIntroducer(sequence)
  const [whole, mark = '', numbers = '', between = '', final = ''] =
    /^([<=>?]?)([0-9:;<=>?]*)([ -/]*)([@-~])$/u.exec(text) ?? []
  // Something that no terminal obeys.
  if (whole === undefined) return true
  if (mark + between + final === 't') return windowReports.test(numbers.split(';')[0] ?? '')
  return questions.has(mark + between + final)
}

function isAsking(command: readonly number[]): boolean {
  const text = withoutIntroducer(command)
  return !textCommands.test(text) && asking.test(text)
}

function withoutIntroducer(sequence: readonly number[]): string {
  return Buffer.from(sequence.slice(2)).toString('latin1')
}
