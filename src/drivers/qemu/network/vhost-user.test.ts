import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseDefinition, VisorError } from '../../../model/index.ts'
import { explainWaiting } from './vhost-user.ts'

const card = (mode: string) =>
  parseDefinition(
    JSON.stringify({
      name: 'web',
      type: 'qemu',
      memoryKiB: 1024,
      devices: { interfaces: [{ type: 'vhostuser', path: '/run/switch.sock', mode }] },
    }),
    'yaml',
  )

test('a start that waited in vain for a switch names its socket, and what to do', () => {
  const late = new VisorError('timeout', 'QEMU did not answer in 60 s.')
  const failed = new VisorError('failed', 'QEMU ended.')
  const told = explainWaiting(card('server'), late)
  assert.ok(told instanceof VisorError)
  assert.deepEqual([told.code, told.cause], ['timeout', late])
  assert.match(
    `${told.message} ${told.remedy}`,
    /nobody connected to '\/run\/switch\.sock'.*Start the program/u,
  )
  assert.equal(explainWaiting(card('client'), late), late)
  assert.equal(explainWaiting(card('server'), failed), failed)
})
