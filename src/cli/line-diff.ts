import type { Colours } from './output.ts'
import { safeText } from './text-width.ts'

export interface DiffLine {
  readonly kind: 'same' | 'removed' | 'added'
  readonly text: string
}

/** The shortest list of lines removed and added that leads from one text to the other. */
export function diffLines(before: readonly string[], after: readonly string[]): DiffLine[] {
  let start = 0
  while (start < before.length && start < after.length && before[start] === after[start]) start++
  let end = 0
  while (
    end < before.length - start &&
    end < after.length - start &&
    before[before.length - 1 - end] === after[after.length - 1 - end]
  )
    end++
  const same = (texts: readonly string[]): DiffLine[] => texts.map((text) => ({ kind: 'same', text }))
  return [
    ...same(before.slice(0, start)),
    ...diffMiddle(before.slice(start, before.length - end), after.slice(start, after.length - end)),
    ...same(before.slice(before.length - end)),
  ]
}

/** Longest common subsequence; a table beyond this many cells is not worth its memory, all is then replaced. */
const maxCells = 16_000_000

function diffMiddle(before: readonly string[], after: readonly string[]): DiffLine[] {
  const removed = (text: string): DiffLine => ({ kind: 'removed', text })
  const added = (text: string): DiffLine => ({ kind: 'added', text })
  const width = after.length + 1
  if ((before.length + 1) * width > maxCells) return [...before.map(removed), ...after.map(added)]
  const common = new Uint32Array((before.length + 1) * width)
  const at = (i: number, j: number) => common[i * width + j] ?? 0
  for (let i = before.length - 1; i >= 0; i--)
    for (let j = after.length - 1; j >= 0; j--)
      common[i * width + j] =
        before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
  const lines: DiffLine[] = []
  let i = 0
  let j = 0
  while (i < before.length || j < after.length) {
    if (i < before.length && before[i] === after[j]) {
      lines.push({ kind: 'same', text: before[i] ?? '' })
      i++
      j++
    } else if (j >= after.length || (i < before.length && at(i + 1, j) >= at(i, j + 1)))
      lines.push(removed(before[i++] ?? ''))
    else lines.push(added(after[j++] ?? ''))
  }
  return lines
}

/** The lines that differ with a little of what is around them, as people know it from version control. */
export function formatDiff(lines: readonly DiffLine[], { red, green, dim }: Colours, context = 2): string {
  const near = lines.map((_, index) =>
    lines.slice(Math.max(0, index - context), index + context + 1).some(({ kind }) => kind !== 'same'),
  )
  let gap = false
  return lines
    .map(({ kind, text }, index) => {
      if (!near[index]) {
        const first = !gap
        gap = true
        return first ? dim('  ⋮\n') : ''
      }
      gap = false
      const safe = text.replace(/[^\t]+/gu, safeText)
      if (kind === 'same') return `  ${safe}\n`
      return kind === 'removed' ? `${red(`- ${safe}`)}\n` : `${green(`+ ${safe}`)}\n`
    })
    .join('')
}
