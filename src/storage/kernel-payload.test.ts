import assert from 'node:assert/strict'
import { test } from 'node:test'
import { extractKernel, unpackLz4Block } from './kernel-payload.ts'

test('a block of LZ4 is unpacked, with a copy that overlaps itself', () => {
  // 'ab', then nine bytes from two back, then 'end'. The token's low nibble is the length less four.
  const block = Buffer.from([0x25, 0x61, 0x62, 0x02, 0x00, 0x30, 0x65, 0x6e, 0x64])
  const output = Buffer.alloc(14)
  assert.equal(unpackLz4Block(block, output, 0), 14)
  assert.equal(output.toString(), 'abababababaend')
})

test('a block that is no LZ4 neither hangs nor writes outside', () => {
  const output = Buffer.alloc(64)
  for (let seed = 1; seed < 2000; seed++) {
    const block = Buffer.from(
      Array.from({ length: 24 }, (_, index) => (seed * 2654435761 * (index + 7)) >>> 11),
    )
    try {
      assert.ok(unpackLz4Block(block, output, 0) <= output.length)
    } catch (error) {
      assert.ok(error instanceof RangeError, String(error))
    }
  }
})

test('what is no kernel is left as it is', () => {
  assert.equal(extractKernel(Buffer.alloc(0)), undefined)
  assert.equal(extractKernel(Buffer.alloc(4096, 0xff)), undefined)
})
