import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dropQueries } from './terminal-queries.ts'

const bytesOf = (text: string) => Buffer.from(text, 'utf8')
const whole = (text: string, limit?: number) => Buffer.from(dropQueries(limit)(bytesOf(text))).toString()

/** One byte at a time. */
function bitten(text: string, limit?: number): string {
  const drop = dropQueries(limit)
  return Buffer.concat([...bytesOf(text)].map((byte) => drop(Uint8Array.of(byte)))).toString()
}

const st = '\u001b\\'
const questions = [
  ...['5n', '6n', '?6n', '?996n', 'c', '0c', '>c', '=c', '>0q', '1x', '?u', '?4m', '?1;1;0S'],
  ...['4$p', '?2026$p', '1$w', '1;1;1;1;24;80*y', '11t', '14;2t', '18t', '19t', '21t', '6\u0005n'],
].map((rest) => `\u001b[${rest}`)
const commands = [
  ...['10;?', '11;?', '4;1;?', '4;1;?;2;?', '52;c;?', '21;foreground=?', '60', '1337;ReportCellSize'],
].flatMap((rest) => [`\u001b]${rest}\u0007`, `\u001b]${rest}${st}`])
const strings = ['P$qm', 'P+q544e', '_Gi=31,a=q;AAAA', 'X', '^'].map((rest) => `\u001b${rest}${st}`)
const others = ['\u0005', '\u001bZ', '\u009b6n', '\u009d10;?\u009c', '\u0090$qm\u009c', '\u009a']

test('questions to the terminal are dropped, however they come', () => {
  for (const query of [...questions, ...commands, ...strings, ...others]) {
    const name = JSON.stringify(query)
    assert.equal(whole(`a${query}b`), 'ab', name)
    assert.equal(bitten(`a${query}b${query}`), 'ab', name)
  }
})

test('everything else stays as it is', () => {
  const kept = [
    'first:~# ls\r\n\tGrüße, Ångström Â\u0085 ¢ \u{1f600}\u0000\u0018\u007f',
    '\u001b[0m\u001b[1;31mred\u001b[m\u001b[2J\u001b[H\u001b[?25l\u001b[?1c\u001b[>4;1m\u001b[22;0t\u001b[8;24;80t',
    '\u001b(B\u001b)0\u001b7\u001b8\u001b=\u001b>\u001bM\u001b#8\u001b[!p\u001b[4 q\u001b[<u\u001b[>4n',
    '\u001b]0;what; ? is this?\u0007\u001b]2;title\u001b\\\u001b]8;;http://example.org/?a=?\u0007link\u001b]8;;\u0007',
    '\u001b]10;#ffffff\u0007\u001b]52;c;aGk=\u0007\u001b]133;A\u0007',
    // No end of a sequence is missed by what stands before it.
    'Âa\u001b[31mÂ',
  ]
  for (const text of kept) {
    assert.equal(whole(text), text, JSON.stringify(text))
    assert.equal(bitten(`${text}.`), `${text}.`, JSON.stringify(text))
  }
})

test('a question is found as a terminal finds it: through control characters and after broken sequences', () => {
  assert.equal(whole('\u001b[6\nn.'), '\n.')
  assert.equal(whole('\u001b\r[6n.'), '\r.')
  assert.equal(whole('\u001b[3\u001b[6n.'), '.')
  assert.equal(whole('\u001b]0;title\u001b[6n.'), '.')
  assert.equal(whole('\u001bP\u001b[6n.'), '.')
  assert.equal(whole('\u001b[6\u0018n.'), 'n.')
  assert.equal(whole('\u001b\u001b[6n.'), '.')
  assert.equal(whole('\u00c2\u001b[6n.'), '\u00c2.')
})

test('what is held back is bounded', () => {
  assert.equal(whole(`\u001b]52;c;${'A'.repeat(100_000)}\u0007.`), '.')
  assert.equal(whole(`\u001b[${'1'.repeat(255)}.`), '.')
  assert.equal(whole(`\u001bP${'A'.repeat(100_000)}${st}.`), '.')
})

test('after the limit, and the sequence that had begun, everything passes', () => {
  const question = '\u001b[6n'
  const text = `a${question}b${question}\u0005`
  for (const show of [whole, bitten]) {
    assert.equal(show(text, 0), text)
    for (const limit of [2, 3, 4, 5, 6]) assert.equal(show(text, limit), `ab${question}\u0005`, String(limit))
    assert.equal(show(text, 7), 'ab\u0005')
  }
})
