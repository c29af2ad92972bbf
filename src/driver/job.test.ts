import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Job } from '../model/index.ts'
import { jobBook } from './job.ts'

const code = (expected: string) => (error: unknown) => {
  assert.equal((error as { code: string }).code, expected)
  return true
}
const never = ({ signal }: { signal: AbortSignal }) =>
  new Promise<never>((_, reject) =>
    signal.addEventListener('abort', () => reject(new DOMException('given up', 'AbortError'))),
  )

test('jobs of one target run one at a time in the order asked; of two targets side by side', async () => {
  const book = jobBook()
  const order: string[] = []
  const gate = Promise.withResolvers<void>()
  const first = book.run({ operation: 'a', target: 'x' }, async () => {
    await gate.promise
    order.push('a')
  })
  const second = book.run({ operation: 'b', target: 'x' }, async () => void order.push('b'))
  await book.run({ operation: 'c', target: 'y' }, async () => void order.push('c'))
  gate.resolve()
  await Promise.all([first, second])
  assert.deepEqual(order, ['c', 'a', 'b'])
})

test('a job tells its states, its progress and its result', async () => {
  const seen: string[] = []
  const book = jobBook((job) => seen.push(`${job.state}:${job.progress?.done ?? ''}`))
  let announced: Job | undefined
  const request = { operation: 'o', target: 't', onJob: (job: Job) => (announced = job) }
  const result = await book.run(request, async ({ progress }) => {
    progress({ done: 1, total: 2 })
    return 42
  })
  assert.equal(result, 42)
  assert.deepEqual(seen, ['running:', 'running:1', 'done:1'])
  assert.equal(announced?.state, 'waiting')
  assert.equal((await book.get(announced?.id ?? '')).result, 42)
})

test('cancel ends a running job, and one that waits before it begins', async () => {
  const book = jobBook()
  const ids: string[] = []
  const onJob = (job: Job) => void ids.push(job.id)
  const running = book.run({ operation: 'a', target: 'x', onJob }, never)
  const waiting = book.run({ operation: 'b', target: 'x', onJob }, async () => assert.fail('must not begin'))
  await book.cancel(ids[1] ?? '')
  await assert.rejects(waiting, code('cancelled'))
  await book.cancel(ids[0] ?? '')
  await assert.rejects(running, code('cancelled'))
  await assert.rejects(book.cancel(ids[0] ?? ''), code('invalid-state'))
  assert.deepEqual(
    (await book.list()).map(({ state }) => state),
    ['cancelled', 'cancelled'],
  )
})

test('an interrupting job cancels the one under way and then runs', async () => {
  const book = jobBook()
  const save = book.run({ operation: 'save', target: 'x' }, never)
  const destroy = book.run({ operation: 'destroy', target: 'x', interrupts: true }, async () => 'gone')
  await assert.rejects(save, code('cancelled'))
  assert.equal(await destroy, 'gone')
})

test('a call whose turn does not come is busy, naming the holder and the remedy', async () => {
  const book = jobBook(() => {}, { patienceMs: 20 })
  const abort = new AbortController()
  const holder = book.run({ operation: 'domains.save', target: 'x', signal: abort.signal }, never)
  await assert.rejects(
    book.run({ operation: 'domains.start', target: 'x' }, async () => {}),
    (error: { code: string; message: string; remedy: string }) => {
      assert.equal(error.code, 'busy')
      assert.match(error.message, /domains\.save/)
      assert.match(error.remedy, /jobs cancel/)
      return true
    },
  )
  abort.abort()
  await assert.rejects(holder, code('cancelled'))
})

test('a queue that grows without end is refused', async () => {
  const book = jobBook()
  const abort = new AbortController()
  const all = Array.from({ length: 70 }, () =>
    book.run({ operation: 'o', target: 'x', signal: abort.signal }, never).catch((error) => error.code),
  )
  abort.abort()
  const codes = await Promise.all(all)
  assert.equal(codes.filter((each) => each === 'busy').length, 5)
  assert.equal(codes.filter((each) => each === 'cancelled').length, 65)
})

test('wait gives the job as it is when the time is over, and ended when it ends', async () => {
  const book = jobBook()
  const gate = Promise.withResolvers<void>()
  let id = ''
  const done = book.run({ operation: 'o', target: 'x', onJob: (job) => (id = job.id) }, () => gate.promise)
  assert.equal((await book.wait(id, { timeoutMs: 1 })).state, 'running')
  assert.equal(await book.idle(1), false)
  const ended = book.wait(id)
  gate.resolve()
  assert.equal((await ended).state, 'done')
  await done
  assert.equal(await book.idle(1), true)
  await assert.rejects(book.wait('nothing'), code('not-found'))
})
