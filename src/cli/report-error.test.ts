import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorCodes, VisorError } from '../model/index.ts'
import { aliases, expandAlias, findCommand, virshRemedy } from './aliases.ts'
import { findEscape } from './attach-console.ts'
import { nameFile } from './commands/screenshot.ts'
import { commands } from './commands.ts'
import { exitCodeMeanings, exitCodes } from './exit-code.ts'
import { openOutput } from './output.ts'
import { formatLine } from './progress.ts'
import { reportError } from './report-error.ts'
import { textWidth } from './text-width.ts'

function report(error: unknown, json = false): { code: number; text: string } {
  const texts: string[] = []
  const output = { ...openOutput({ json, color: false }), error: (text: string) => void texts.push(text) }
  return { code: reportError(error, output), text: texts.join('') }
}

test('every kind of error has an exit code that the help explains', () => {
  const explained = new Set(exitCodeMeanings.map(([code]) => code))
  for (const code of Object.keys(errorCodes))
    assert.ok(explained.has(exitCodes[code as keyof typeof exitCodes]), code)
})

test('an error is a sentence and its remedy', () => {
  const error = new VisorError('not-found', "There is no domain 'a\u001b[2J'.", { remedy: 'Look.' })
  assert.deepEqual(report(error), { code: 3, text: "error: There is no domain 'a\\x1b[2J'.\n  try: Look.\n" })
  assert.equal(report(new TypeError('x')).code, 1)
  const { text } = report(error, true)
  assert.equal(JSON.parse(text).error.code, 'not-found')
})

test('aliases stand for commands there are, and for words that are none', () => {
  const names = new Set(commands.map(({ name }) => name))
  for (const [alias, [command = '']] of Object.entries(aliases)) {
    assert.ok(names.has(command), `${alias} stands for ${command}`)
    assert.ok(!names.has(alias), `${alias} is a command itself`)
  }
  assert.deepEqual(expandAlias(['-c', 'list', 'dumpxml', 'web']), ['-c', 'list', 'show', '--xml', 'web'])
  assert.deepEqual(expandAlias(['constructor']), ['constructor'])
  assert.equal(findCommand(['--json', '--token', 'list', 'show']), 3)
  assert.equal(findCommand(['--json']), -1)
  assert.match(virshRemedy('domrename') ?? '', /visor edit/u)
  assert.equal(virshRemedy('toString'), undefined)
})

test('the key that leaves a console is found among others', () => {
  assert.equal(findEscape(Buffer.from('ab\u001dc')), 2)
  assert.equal(findEscape(Buffer.from('a\u001b[93;5u')), 1)
  assert.equal(findEscape(Buffer.from('abc')), -1)
})

test('a picture has the ending of its format', () => {
  const png = { mediaType: 'image/png' }
  assert.equal(nameFile('web', 'a.png', png), 'a.png')
  assert.equal(nameFile('web', 'a', png), 'a')
  assert.equal(nameFile('web', 'a.png', { mediaType: 'image/x-portable-pixmap' }), 'a.png.ppm')
  assert.match(nameFile('../web', undefined, png), /^\.\._web-\d{4}-.*\.png$/u)
})

test('progress fits its line', () => {
  const progress = { phase: 'fetching '.repeat(20), done: 2 ** 20, total: 2 ** 22, unit: 'bytes' } as const
  for (const room of [60, 80, 120])
    assert.ok(textWidth(formatLine('Building micro', progress, 12_000, room)) <= room)
  assert.match(formatLine('Saving web', { done: 50, unit: 'percent' }, 1_000, 80), /50 %/u)
  assert.match(formatLine('Building micro', progress, 12_000, 200), /25 % 1 MiB of 4 MiB 12 s$/u)
})
