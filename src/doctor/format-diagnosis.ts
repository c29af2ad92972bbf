import { createColors } from 'picocolors'
import type { Check, ProbeResult } from '../model/index.ts'
import type { Diagnosis } from './diagnosis.ts'
import { describeKind } from './summary.ts'
import { formatKiB, wrap } from './text.ts'

export interface FormatOptions {
  readonly color: boolean
  /** Columns of the terminal. */
  readonly width: number
}

/** Outcome, told by shape and not by colour alone. */
const marks: Readonly<Record<Check['status'], string>> = { pass: '✓', warn: '!', fail: '✗', info: '·' }
const paints = { pass: 'green', warn: 'yellow', fail: 'red', info: 'dim' } as const
const titleLimit = 32

/** The diagnosis as text for a terminal: what the host can do, then each group, remedies on their own lines. */
export function formatDiagnosis(diagnosis: Diagnosis, { color, width }: FormatOptions): string {
  const colors = createColors(color)
  const columns = Math.max(width, 40)
  const lines = [
    ...formatHead(diagnosis),
    '',
    ...diagnosis.summary.flatMap((sentence) => wrap(sentence, columns)),
  ]
  for (const probe of diagnosis.drivers) addGroup(driverTitle(probe), probe.checks)
  for (const { title, checks } of diagnosis.groups) addGroup(title, checks)
  return [...lines, '', formatCounts(), ''].join('\n')

  function formatHead({ host }: Diagnosis): string[] {
    const cpus = `${host.cpus} ${host.cpus === 1 ? 'processor' : 'processors'}`
    const machine = [host.cpuModel, cpus, formatKiB(host.memoryKiB)].filter(Boolean).join(', ')
    return [
      `${colors.bold(host.hostname)}: ${host.system}, Linux ${host.kernel}, ${host.arch}`,
      `${machine}; ${host.environment}`,
    ].flatMap((line) => wrap(line, columns))
  }

  function driverTitle(probe: ProbeResult): string {
    const state = probe.available ? '' : ' (cannot be used)'
    return `Driver ${probe.driver}${probe.version ? ` ${probe.version}` : ''}${state}: ${describeKind(probe)}`
  }

  function addGroup(title: string, checks: readonly Check[]): void {
    if (checks.length === 0) return
    const titleWidth = Math.min(titleLimit, Math.max(...checks.map((check) => check.title.length)))
    lines.push('', ...wrap(title, columns).map((line) => colors.bold(line)))
    for (const check of checks) lines.push(...formatCheck(check, titleWidth))
  }

  function formatCheck({ status, title, detail, remedy }: Check, titleWidth: number): string[] {
    const paint = colors[paints[status]]
    // On a narrow terminal the text goes below the title instead of beside it.
    const beside = columns >= titleWidth + 44
    const indent = ' '.repeat(beside ? titleWidth + 6 : 4)
    const text = wrap(detail, columns - indent.length)
    const advice = remedy ? wrap(remedy, columns - indent.length - 2) : []
    const head = `  ${paint(marks[status])} ${title.padEnd(beside ? titleWidth : 0)}`
    // A title wider than its column pushes its text to the next line.
    const sameLine = beside && title.length <= titleWidth
    const first = sameLine ? [`${head}  ${text.shift() ?? ''}`] : [head]
    return [
      ...first,
      ...text.map((line) => indent + line),
      ...advice.map((line, index) => `${indent}${colors.cyan(index === 0 ? '→' : ' ')} ${colors.cyan(line)}`),
    ]
  }

  function formatCounts(): string {
    const checks = [...diagnosis.drivers, ...diagnosis.groups].flatMap((group) => group.checks)
    const count = (status: Check['status']) => checks.filter((check) => check.status === status).length
    const words = (number: number, one: string, many: string) => `${number} ${number === 1 ? one : many}`
    const parts = [
      [colors.green, words(count('pass'), 'check passed', 'checks passed')],
      [colors.yellow, words(count('warn'), 'warning', 'warnings')],
      [colors.red, words(count('fail'), 'failure', 'failures')],
      [colors.dim, `${count('info')} to know`],
    ] as const
    const fits = parts.map(([, text]) => text).join(', ').length <= columns
    return parts.map(([paint, text]) => paint(text)).join(fits ? ', ' : '\n')
  }
}
