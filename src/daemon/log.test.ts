import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { VisorError } from '../model/index.ts'
import { describeError, formatPretty } from './log.ts'

describe('log', () => {
  it('writes lines for people', () => {
    const line =
      '{"level":"warn","time":"2026-11-22T23:03:38.651Z","path":"/v1/x","text":"a b","n":1,"msg":"slow"}'
    assert.equal(formatPretty(line), '23:03:38.651 WARN slow path=/v1/x text="a b" n=1\n')
    assert.equal(
      formatPretty('{"level":"info","time":"2026-11-22T23:03:38.651Z","msg":"ready"}'),
      '23:03:38.651 ready\n',
    )
  })

  it('tells the stack of what nobody expected, and not of what was', () => {
    assert.match(JSON.stringify(describeError(new TypeError('x is undefined'))), /log\.test\.ts/)
    const expected = describeError(new VisorError('busy', 'It is busy.', { remedy: 'Wait.' }))
    assert.deepEqual(JSON.parse(JSON.stringify(expected)), {
      code: 'busy',
      message: 'It is busy.',
      remedy: 'Wait.',
    })
    const cause = new TypeError('x is undefined')
    assert.match(JSON.stringify(describeError(new VisorError('internal', 'Oh.', { cause }))), /log\.test\.ts/)
  })
})
