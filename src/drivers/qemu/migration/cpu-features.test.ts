import assert from 'node:assert/strict'
import { test } from 'node:test'
import { missingFeatures } from './cpu-features.ts'

test('features that are not there are named, those that are more are not', () => {
  const here = ['1:0:ECX=80000001', '7:0:EBX=20', 'd:1:EAX=2', '80000001:0:EDX=20100800']
  assert.deepEqual(missingFeatures(here, here), [])
  assert.deepEqual(missingFeatures(here, ['1:0:ECX=80000003', '7:0:EBX=0', '80000001:0:EDX=20000800']), [
    ...['avx2', 'CPUID 0xd.1 EAX bit 1', 'nx'],
  ])
  assert.deepEqual(missingFeatures([], here), [])
})
