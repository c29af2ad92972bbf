import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { openControl } from './control.ts'
import { formatLine, lineReader, type MachineEvent, type Request } from './protocol.ts'

test('lines come whole, however their bytes come', () => {
  const bytes = Buffer.from(`${formatLine({ id: 1, result: 'ü' })}\n${formatLine({ event: 'ready' })}`)
  for (const step of [1, 2, 3, bytes.length]) {
    const read = lineReader()
    const found: object[] = []
    for (let at = 0; at < bytes.length; at += step) found.push(...read(bytes.subarray(at, at + step)))
    assert.deepEqual(found, [{ id: 1, result: 'ü' }, { event: 'ready' }])
  }
})

test('what is no message, or too long, is refused', () => {
  for (const line of ['nonsense\n', '[]\n', '7\n', 'null\n'])
    assert.throws(() => lineReader()(Buffer.from(line)), { code: 'failed' })
  const read = lineReader(100)
  assert.throws(() => read(Buffer.alloc(200, 0x61)), { code: 'failed' })
})

/** Both ends of a line: what the driver wrote, and a way to answer. */
function line() {
  const [written, heard] = [new PassThrough(), new PassThrough()]
  const events: MachineEvent[] = []
  const stream = Object.assign(heard, { write: written.write.bind(written) })
  const requests: Request[] = []
  const read = lineReader()
  written.on('data', (bytes: Buffer) => requests.push(...(read(bytes) as Request[])))
  const say = (text: string) => heard.push(Buffer.from(text))
  return { control: openControl(stream, (event) => events.push(event)), requests, events, say, stream }
}

test('answers find their questions in any order, events come between', async () => {
  const { control, requests, events, say } = line()
  const [first, second] = [control.ask({ do: 'status' }), control.ask({ do: 'suspend' })]
  await new Promise((resolve) => setImmediate(resolve))
  const [one, two] = requests.map(({ id }) => id)
  say(`{"id":${two},"error":{"code":"invalid-state","message":"No."}}\n{"event":"suspended"}\n`)
  say(`{"id":${one},"result":7}\n{"id":99,"result":1}\n`)
  await assert.rejects(second, { code: 'invalid-state', message: 'No.' })
  assert.equal(await first, 7)
  assert.deepEqual(events, [{ event: 'suspended' }])
})

test('a machine that is gone, silent or mad fails the question', async () => {
  const gone = line()
  const asked = gone.control.ask({ do: 'status' })
  gone.control.close()
  await assert.rejects(asked, { code: 'unavailable' })
  await assert.rejects(gone.control.ask({ do: 'status' }), { code: 'unavailable' })
  await assert.rejects(line().control.ask({ do: 'status' }, 1), { code: 'timeout' })
  const mad = line()
  const hopeless = mad.control.ask({ do: 'status' })
  mad.say('nonsense\n')
  await assert.rejects(hopeless, { code: 'unavailable' })
})
