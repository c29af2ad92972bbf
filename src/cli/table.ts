import { cutText, padText, safeText, textWidth } from './text-width.ts'

export interface Column<Row> {
  readonly title: string
  readonly value: (row: Row) => string
  readonly align?: 'left' | 'right'
  /** Colours the finished cell. */
  readonly style?: (text: string, row: Row) => string
  /** May be made narrower than its content, down to this; without it, it keeps its width. */
  readonly shrinkTo?: number
}

export interface TableOptions {
  /** Columns of the terminal; nothing is cut without it. */
  readonly width?: number | undefined
  readonly styleTitle?: (title: string) => string
}

const gap = '  '

/** Rows under upper-case titles, each column as wide as it must be; what does not fit is cut with an ellipsis. */
export function formatTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  { width, styleTitle = (title) => title }: TableOptions = {},
): string {
  const cells = rows.map((row) => columns.map((column) => safeText(column.value(row))))
  const natural = columns.map((column, index) =>
    Math.max(textWidth(column.title), ...cells.map((line) => textWidth(line[index] ?? ''))),
  )
  const widths = width === undefined ? natural : fitWidths(columns, natural, width)
  const lines = [
    columns.map((column, index) => cell(column.title.toUpperCase(), index, styleTitle)),
    ...cells.map((line, number) =>
      line.map((text, index) => {
        const row = rows[number] as Row
        return cell(text, index, (piece) => columns[index]?.style?.(piece, row) ?? piece)
      }),
    ),
  ]
  return lines.map((line) => `${line.join(gap).trimEnd()}\n`).join('')

  function cell(text: string, index: number, style: (text: string) => string): string {
    const room = widths[index] ?? 0
    const cut = cutText(text, room)
    const padded = padText('', room - textWidth(cut))
    const last = index === columns.length - 1
    if (columns[index]?.align === 'right') return padded + style(cut)
    return last ? style(cut) : style(cut) + padded
  }
}

/** Takes the missing room from the widest column that may shrink, one column of the terminal at a time. */
function fitWidths<Row>(
  columns: readonly Column<Row>[],
  natural: readonly number[],
  width: number,
): number[] {
  const widths = [...natural]
  const sum = () => widths.reduce((total, each) => total + each, gap.length * (widths.length - 1))
  while (sum() > width) {
    let widest = -1
    columns.forEach((column, index) => {
      const now = widths[index] ?? 0
      if (column.shrinkTo !== undefined && now > column.shrinkTo && now > (widths[widest] ?? 0))
        widest = index
    })
    if (widest < 0) break
    widths[widest] = (widths[widest] ?? 1) - 1
  }
  return widths
}
