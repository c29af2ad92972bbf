import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseDiskSpec, parseMemSpec } from './diskspec.ts'

test('disks and memory of a snapshot, as virsh writes them', () => {
  assert.deepEqual(parseDiskSpec('vda'), { name: 'vda' })
  assert.deepEqual(parseDiskSpec('vda,snapshot=external,driver=qcow2,file=/a,,b=c'), {
    name: 'vda',
    snapshot: 'external',
    format: 'qcow2',
    file: '/a,b=c',
  })
  assert.deepEqual(parseDiskSpec('vdb,stype=block,file=/dev/x'), {
    name: 'vdb',
    type: 'block',
    block: '/dev/x',
  })
  assert.deepEqual(parseMemSpec('file=/m,snapshot=external'), { memory: 'external', memoryFile: '/m' })
  assert.deepEqual(parseMemSpec('/m'), { memory: 'external', memoryFile: '/m' })
  assert.deepEqual(parseMemSpec('snapshot=no'), { memory: 'no' })
  for (const wrong of ['', 'snapshot=no', 'vda,snapshot=maybe', 'vda,colour=red', 'vda,stype=net'])
    assert.throws(() => parseDiskSpec(wrong), { code: 'invalid-argument' })
  assert.throws(() => parseMemSpec('snapshot=maybe'), { code: 'invalid-argument' })
})
