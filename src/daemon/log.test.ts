import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { silentLog } from '../driver/index.ts'
import { VisorError } from '../model/index.ts'
import { describeError, formatPretty, levelled } from './log.ts'

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

  it('takes another level for children that are there already', () => {
    const said: string[] = []
    const log = levelled(
      {
        ...silentLog,
        debug: (_, text) => said.push(text),
        child: () => ({ ...silentLog, debug: (_, text) => said.push(text) }),
      },
      'info',
    )
    const child = log.child({ driver: 'x' })
    child.debug({}, 'not said')
    log.setLevel('debug')
    child.debug({}, 'said')
    log.debug({}, 'said too')
    assert.deepEqual(said, ['said', 'said too'])
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
