import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ErrorCode, errorCodes, parse, VisorError } from '../model/index.ts'
import { fromErrorJson, fromProblem, Problem, toProblem } from './problem.ts'

const details = {
  remedy: 'Do this.',
  line: 3,
  column: 7,
  path: 'devices.disks[0]',
  object: { kind: 'domain', name: 'web' },
  issues: [{ path: 'devices.disks[0]', message: 'is wrong', line: 3, column: 7 }],
}

for (const code of Object.keys(errorCodes) as ErrorCode[])
  test(`${code} is the same error on the other side`, () => {
    const error = new VisorError(code, 'It went wrong.', details)
    const problem = toProblem(error, 'request-1')
    assert.equal(problem.status, errorCodes[code].http)
    assert.deepEqual(parse(Problem, JSON.parse(JSON.stringify(problem))), problem)
    assert.deepEqual(fromProblem(problem.status, JSON.stringify(problem)).toJSON(), error.toJSON())
    assert.deepEqual(fromErrorJson(JSON.parse(JSON.stringify(error))).toJSON(), error.toJSON())
  })

const strange: readonly [status: number, body: string, code: ErrorCode][] = [
  [502, '<html>Bad gateway</html>', 'unavailable'],
  [401, '', 'unauthenticated'],
  [403, 'null', 'denied'],
  [418, '{"code":"teapot","detail":"short"}', 'failed'],
  [404, '{"code":"__proto__","detail":"x"}', 'failed'],
]
for (const [status, body, code] of strange)
  test(`an answer ${status} ${body} of something else is ${code}`, () => {
    assert.equal(fromProblem(status, body).code, code)
  })
