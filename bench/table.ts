import type { AimResult, BenchmarkResult } from './harness.ts'

/** A result as a table for people: medians with their ends, and how many times the best peer or ours it is. */
export function formatResult({ title, unit, rows, aims, notes }: BenchmarkResult): string {
  const reference = rows.find(({ ours }) => ours) ?? rows[0]
  const cells = rows.map((row) => [
    row.contender,
    `${formatNumber(row.median)} ${unit}`,
    `${formatNumber(row.min)} to ${formatNumber(row.max)}`,
    row === reference || !reference ? '' : `${formatNumber(row.median / reference.median)} x`,
  ])
  const heads = ['', 'median', 'min to max', reference ? `to ${reference.contender}` : '']
  const widths = heads.map((head, column) =>
    Math.max(head.length, ...cells.map((row) => row[column]?.length ?? 0)),
  )
  const line = (row: readonly string[]) =>
    `  ${row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('   ')}`.trimEnd()
  return [
    `${title} (${Math.min(...rows.map(({ samples }) => samples))} samples each)`,
    line(heads),
    ...cells.map(line),
    ...aims.map((aim) => `  ${formatAim(aim, unit)}`),
    ...notes.map((note) => `  Note: ${note}`),
  ].join('\n')
}

function formatAim({ ours, peer, kind, value, measured, reached }: AimResult, unit: string): string {
  const got = formatNumber(measured)
  const texts = {
    'at-most-times': `at most ${value} times ${peer}: ${got}`,
    'faster-times': `at least ${value} times faster than ${peer}: ${got}`,
    'at-most-more': `at most ${value} ${unit} more than ${peer}: ${got} ${unit}`,
    'at-most': `at most ${value} ${unit}: ${got} ${unit}`,
  }
  return `${reached ? 'reached' : 'MISSED '}  ${ours} ${texts[kind]}`
}

/** Three digits that matter. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '-'
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(value < 1 ? 2 : 3)
}
