import { createColors } from 'picocolors'
import { stripColours } from './text-width.ts'

export type Colours = ReturnType<typeof createColors>

export interface OutputOptions {
  readonly json?: boolean | undefined
  readonly quiet?: boolean | undefined
  /** False: never; undefined: on a terminal, unless NO_COLOR is set. */
  readonly color?: boolean | undefined
}

/** Where a command writes: results to standard output, everything about the work to standard error. */
export interface Output {
  readonly json: boolean
  readonly quiet: boolean
  /** For standard output; without effect when that is no terminal. */
  readonly colours: Colours
  /** For standard error. */
  readonly noteColours: Colours
  /** Columns of the terminal; undefined when standard output is none. */
  readonly columns: number | undefined
  /** Whether standard error is a terminal that can redraw a line. */
  readonly live: boolean
  write(text: string | Uint8Array): void
  /** A result: as JSON with `--json`, else as `render` gives it. */
  print(value: unknown, render: () => string): void
  /** A line about the work, on standard error; nothing with `--quiet` or `--json`. */
  note(line: string): void
  /** On standard error, whatever the flags. */
  error(text: string): void
}

/** Whether a stream shows colours: NO_COLOR (any value) and TERM=dumb say no, FORCE_COLOR says yes. */
function hasColours(stream: NodeJS.WriteStream, color: boolean | undefined): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env
  if (color === false || NO_COLOR) return false
  if (FORCE_COLOR && FORCE_COLOR !== '0') return true
  return Boolean(stream.isTTY) && TERM !== 'dumb'
}

/** The output of this process. */
export function openOutput({ json = false, quiet = false, color }: OutputOptions = {}): Output {
  const { stdout, stderr } = process
  const colours = createColors(!json && hasColours(stdout, color))
  const noteColours = createColors(hasColours(stderr, color))
  return {
    json,
    quiet,
    colours,
    noteColours,
    columns: stdout.isTTY ? stdout.columns || 80 : undefined,
    live: Boolean(stderr.isTTY) && process.env.TERM !== 'dumb' && !quiet && !json,
    write: (text) => void stdout.write(text),
    print(value, render) {
      if (json) stdout.write(`${JSON.stringify(value, null, 2)}\n`)
      else stdout.write(render())
    },
    note(line) {
      if (!quiet && !json) stderr.write(`${hasColours(stderr, color) ? line : stripColours(line)}\n`)
    },
    error: (text) => void stderr.write(text),
  }
}
