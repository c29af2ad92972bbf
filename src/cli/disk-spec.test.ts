import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VisorError } from '../model/index.ts'
import { parseDisk } from './disk-spec.ts'

test('a pool is of a new disk, or of a volume', () => {
  assert.deepEqual(
    ['20GiB,pool=fast', 'data.qcow2,pool=fast'].map((text) => {
      const { sizeBytes, pool, volume, file, format } = parseDisk(text, '/here')
      return { sizeBytes, pool, volume, file, format }
    }),
    [
      { sizeBytes: 20 * 2 ** 30, pool: 'fast', volume: undefined, file: undefined, format: 'qcow2' },
      { sizeBytes: undefined, pool: 'fast', volume: 'data.qcow2', file: undefined, format: 'qcow2' },
    ],
  )
})

test('a disk is a size or a file', () => {
  assert.deepEqual(parseDisk('20GiB'), {
    sizeBytes: 20 * 2 ** 30,
    format: 'qcow2',
    device: 'disk',
    readonly: false,
  })
  assert.deepEqual(parseDisk('1G,format=raw').format, 'raw')
  assert.deepEqual(parseDisk('web.qcow2', '/srv'), {
    file: '/srv/web.qcow2',
    format: 'qcow2',
    device: 'disk',
    readonly: false,
  })
  // What a guest writes into a raw disk must not make it another format.
  assert.equal(parseDisk('/srv/web.img').format, 'raw')
  assert.deepEqual(parseDisk('/a,format=qcow2,readonly,bus=sata,cache=none'), {
    file: '/a',
    format: 'qcow2',
    device: 'disk',
    readonly: true,
    bus: 'sata',
    cache: 'none',
  })
  assert.equal(parseDisk('/a.iso,device=cdrom').readonly, true)
  const rich = parseDisk('/a.vmdk,format=vmdk,bus=nvme,io=threads,discard=unmap,serial=S1,transient')
  assert.deepEqual([rich.format, rich.bus, rich.io, rich.discard], ['vmdk', 'nvme', 'threads', 'unmap'])
  assert.deepEqual([rich.serial, rich.transient, rich.shareable], ['S1', true, undefined])
})

test('what is wrong with a disk is said', () => {
  for (const text of [
    '',
    ',readonly',
    '/a,format=word',
    '1G,format=vmdk',
    '/a,colour=red',
    '/a,bus',
    '/a,bus=pci',
  ])
    assert.throws(
      () => parseDisk(text),
      (error) =>
        error instanceof VisorError && error.code === 'invalid-argument' && error.remedy !== undefined,
      text,
    )
})
