import type { Progress } from '../model/index.ts'
import type { Output } from './output.ts'
import { cutText, safeText, textWidth } from './text-width.ts'
import { formatBytes, formatDuration } from './units.ts'

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏']
/** Work that ends sooner shows nothing. */
const quietMs = 300
const redrawMs = 100
/** On what is no terminal, a line at most this often. */
const lineMs = 5_000
const barWidth = 24

/** What is to be seen of work under way. */
export interface ProgressView {
  update(progress: Progress): void
  /** Removes it from the terminal. */
  end(): void
}

/** Shows work on standard error: a bar or spinner redrawn in place on a terminal, else plain lines now and then. */
export function showProgress(output: Output, label: string): ProgressView {
  return output.live ? liveView(output, label) : plainView(output, label)
}

function liveView(output: Output, label: string): ProgressView {
  const started = performance.now()
  let progress: Progress = {}
  let frame = 0
  let drawn = false
  const timer = setInterval(() => {
    const elapsed = performance.now() - started
    if (elapsed < quietMs) return
    const mark = output.noteColours.cyan(frames[frame++ % frames.length] ?? '')
    const room = (process.stderr.columns || 80) - 3
    output.error(
      `\r\u001b[K${drawn ? '' : '\u001b[?25l'}${mark} ${formatLine(label, progress, elapsed, room)}`,
    )
    drawn = true
  }, redrawMs)
  timer.unref()
  // The cursor must come back even when the process ends in the middle.
  const restore = () => drawn && output.error('\r\u001b[K\u001b[?25h')
  process.once('exit', restore)
  return {
    update(next) {
      // Numbers of one phase mean nothing in the next.
      const isNews = next.phase !== undefined && next.phase !== progress.phase
      progress = isNews ? next : { ...progress, ...next }
    },
    end() {
      clearInterval(timer)
      process.off('exit', restore)
      restore()
    },
  }
}

function plainView(output: Output, label: string): ProgressView {
  const started = performance.now()
  let phase: string | undefined
  let toldAt = started
  return {
    update(progress) {
      const now = performance.now()
      if (now - started < quietMs) return
      const isNews = progress.phase !== undefined && progress.phase !== phase
      if (!isNews && now - toldAt < lineMs) return
      phase = progress.phase ?? phase
      toldAt = now
      output.note(
        formatLine(label, { ...progress, ...(phase !== undefined && { phase }) }, now - started, 1000),
      )
    },
    end() {},
  }
}

/** One line of at most `room` columns: what is done, how far it is, for how long. */
export function formatLine(label: string, progress: Progress, elapsedMs: number, room: number): string {
  const phase = progress.phase ? `: ${safeText(progress.phase)}` : ''
  const numbers = formatNumbers(progress)
  const bar = formatBar(progress)
  const end = [bar, numbers, formatDuration(Math.round(elapsedMs / 1000) * 1000)].filter(Boolean).join(' ')
  return `${cutText(label + phase, Math.max(8, room - textWidth(end) - 2))}  ${end}`
}

function fractionOf({ done, total, unit }: Progress): number | undefined {
  const whole = total ?? (unit === 'percent' ? 100 : undefined)
  return done === undefined || !whole ? undefined : Math.min(1, done / whole)
}

function formatBar(progress: Progress): string {
  const fraction = fractionOf(progress)
  if (fraction === undefined) return ''
  const full = Math.round(fraction * barWidth)
  return `${'█'.repeat(full)}${'░'.repeat(barWidth - full)} ${String(Math.floor(fraction * 100)).padStart(3)} %`
}

function formatNumbers({ done, total, unit }: Progress): string {
  if (done === undefined || unit === 'percent' || unit === undefined) return ''
  const format = unit === 'bytes' ? formatBytes : String
  return total === undefined ? format(done) : `${format(done)} of ${format(total)}`
}

/** Runs `work` with its progress shown; what is passed on to the operation is its argument. */
export async function withProgress<T>(
  output: Output,
  label: string,
  signal: AbortSignal,
  work: (call: { signal: AbortSignal; progress: (progress: Progress) => void }) => Promise<T>,
): Promise<T> {
  const view = showProgress(output, label)
  try {
    return await work({ signal, progress: (progress) => view.update(progress) })
  } finally {
    view.end()
  }
}
