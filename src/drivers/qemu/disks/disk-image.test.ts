import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { VisorError } from '../../../model/index.ts'
import { readDiskImage } from './disk-image.ts'

let directory = ''
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'visor-image-'))
})
after(() => rm(directory, { recursive: true, force: true }))

interface Parts {
  version?: number
  crypt?: number
  features?: bigint
  backing?: string
  backingFormat?: string
}

/** A header as QEMU's docs/interop/qcow2 has it. */
function header({
  version = 3,
  crypt = 0,
  features = 0n,
  backing = '',
  backingFormat = '',
}: Parts = {}): Buffer {
  const bytes = Buffer.alloc(65_536)
  bytes.writeUInt32BE(0x514649fb, 0)
  bytes.writeUInt32BE(version, 4)
  bytes.writeUInt32BE(crypt, 32)
  bytes.writeBigUInt64BE(features, 72)
  bytes.writeUInt32BE(104, 100)
  if (backingFormat !== '') {
    bytes.writeUInt32BE(0xe2792aca, 104)
    bytes.writeUInt32BE(backingFormat.length, 108)
    bytes.write(backingFormat, 112)
  }
  if (backing !== '') {
    bytes.writeBigUInt64BE(512n, 8)
    bytes.writeUInt32BE(Buffer.byteLength(backing), 16)
    bytes.write(backing, 512)
  }
  return bytes
}

async function write(name: string, bytes: Uint8Array): Promise<string> {
  const path = join(directory, name)
  await writeFile(path, bytes)
  return path
}

test('a chain is followed, relative names from the folder of the image', async () => {
  const base = await write('base', Buffer.alloc(512))
  const middle = await write('middle', header({ backing: 'base', backingFormat: 'raw' }))
  const top = await write('top', header({ backing: middle, backingFormat: 'qcow2' }))
  const image = await readDiskImage(top, 'qcow2')
  assert.equal(image.backing?.path, middle)
  assert.deepEqual(image.backing?.backing, { path: base, format: 'raw' })
})

test('a raw image is never looked into', async () => {
  const path = await write('raw', header({ backing: '/etc/shadow', backingFormat: 'raw' }))
  assert.deepEqual(await readDiskImage(path, 'raw'), { path, format: 'raw' })
})

const surprises: [string, Parts, RegExp][] = [
  ['an image based on a file of unstated format', { backing: '/etc/passwd' }, /in which format/u],
  ['an image based on the network', { backing: 'nbd://host/x', backingFormat: 'raw' }, /is no file/u],
  [
    'an image based on a description',
    { backing: 'json:{"driver":"file"}', backingFormat: 'raw' },
    /is no file/u,
  ],
  ['an image based on another kind', { backing: 'x', backingFormat: 'vmdk' }, /does not exist|vmdk/u],
  ['an encrypted image', { crypt: 2 }, /encrypted/u],
  ['an image with its data elsewhere', { features: 4n }, /in another file/u],
  ['a damaged image', { features: 2n }, /damaged/u],
  ['an image of the future', { features: 1n << 40n }, /not known/u],
  ['an unknown version', { version: 9 }, /version 9/u],
]
for (const [what, parts, message] of surprises)
  test(`${what} is refused`, async () => {
    const path = await write('odd', header(parts))
    await assert.rejects(readDiskImage(path, 'qcow2'), message)
  })

test('an image that is based on itself is refused', async () => {
  const path = await write('self', header({ backing: 'self', backingFormat: 'qcow2' }))
  await assert.rejects(readDiskImage(path, 'qcow2'), /based on itself/u)
})

test('whatever the header holds, the answer is an image or a VisorError', async () => {
  const path = join(directory, 'random')
  const input = fc.record({
    at: fc.nat(700),
    bytes: fc.uint8Array({ maxLength: 16 }),
    length: fc.nat(66_000),
  })
  await fc.assert(
    fc.asyncProperty(input, async ({ at, bytes, length }) => {
      const whole = header({ backing: 'base', backingFormat: 'raw' })
      whole.set(bytes, at)
      await writeFile(path, whole.subarray(0, length))
      await readDiskImage(path, 'qcow2').catch((error: unknown) => assert.ok(error instanceof VisorError))
    }),
    { numRuns: 200 },
  )
})
