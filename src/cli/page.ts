import type { Colours } from './output.ts'
import { padText, safeText } from './text-width.ts'

/** A line of a page: what, and its value; a line without a value is left out. */
export type PageLine = readonly [label: string, value: string | undefined]

/** Labelled lines under a heading, values aligned; nothing when no line has a value. Values may be coloured. */
export function formatSection(colours: Colours, heading: string, lines: readonly PageLine[]): string {
  const there = lines.filter(([, value]) => value !== undefined && value !== '')
  if (there.length === 0) return ''
  const head = heading === '' ? '' : `${colours.bold(heading)}\n`
  return head + there.map(([label, value]) => `  ${colours.dim(padText(label, 11))} ${value}\n`).join('')
}

/** Words that are there, joined. */
export function joinWords(words: readonly (string | undefined | false)[], separator = ', '): string {
  return words.filter((word) => typeof word === 'string' && word !== '').join(separator)
}

/** Text of a guest's or another person's making, made fit for a terminal; undefined stays so. */
export function safe(text: string | undefined): string | undefined {
  return text === undefined ? undefined : safeText(text)
}
