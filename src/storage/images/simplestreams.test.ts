import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { VisorError } from '../../model/index.ts'
import { findFiles, findProduct, itemLimits, readIndex, readProducts } from './simplestreams.ts'

const hex = 'a'.repeat(64)
const item = (ftype: string, more: object = {}) => ({
  ftype,
  path: `images/x/${ftype}`,
  sha256: hex,
  size: 10,
  ...more,
})

/** As images.linuxcontainers.org has it. */
const product = {
  ...{ aliases: 'debian/12/default,debian/12,debian/bookworm', arch: 'amd64', os: 'Debian' },
  ...{ release: 'bookworm', release_title: 'bookworm', variant: 'default', requirements: {} },
  versions: {
    '20250101_05:24': { items: { 'disk.qcow2': item('disk-kvm.img'), 'lxd.tar.xz': item('lxd.tar.xz') } },
    '20250102_05:24': {
      items: {
        'incus.tar.xz': item('incus.tar.xz', { 'combined_disk-kvm-img_sha256': hex }),
        'disk.qcow2': item('disk-kvm.img', { path: 'images/debian/bookworm/20250102_05:24/disk.qcow2' }),
        'root.squashfs': item('squashfs'),
        'root.tar.xz': item('root.tar.xz'),
        'delta.vcdiff': item('squashfs.vcdiff', { delta_base: '20250101_05:24' }),
      },
    },
    '20250103_05:24': { items: { 'root.squashfs': item('squashfs') } },
  },
}
const listOf = (products: object) =>
  JSON.stringify({ format: 'products:1.0', content_id: 'images', products })

test('an index names lists of downloads', () => {
  const index = {
    images: { datatype: 'image-downloads', path: 'streams/v1/images.json', products: ['x'] },
    ids: { datatype: 'image-ids', path: 'streams/v1/ids.json' },
    away: { datatype: 'image-downloads', path: '../../etc/passwd' },
    other: { datatype: 'image-downloads', path: 'http://example.org/x' },
    ubuntu: { datatype: 'image-downloads', path: 'streams/v1/com.ubuntu.cloud:released:download.json' },
  }
  assert.deepEqual(readIndex(JSON.stringify({ format: 'index:1.0', index }), 'x'), [
    'streams/v1/images.json',
    'streams/v1/com.ubuntu.cloud:released:download.json',
  ])
  for (const text of ['', '[]', 'null', '{}', '{"index":3}', '<html>'])
    assert.throws(() => readIndex(text, 'x'), { code: 'failed' })
})

test('the newest version that has all files is the one', () => {
  const [read, ...others] = readProducts(listOf({ 'debian:bookworm:amd64:default': product }), 'x')
  assert.ok(read)
  assert.deepEqual(others, [])
  assert.deepEqual([read.arch, read.title], ['x86_64', 'Debian bookworm'])
  assert.deepEqual(read.aliases, ['debian/12/default', 'debian/12', 'debian/bookworm'])
  const disk = findFiles(read, 'disk')
  assert.deepEqual(disk?.kind === 'disk' && [disk.version, disk.disk.path], [
    '20250102_05:24',
    'images/debian/bookworm/20250102_05:24/disk.qcow2',
  ])
  const container = findFiles(read, 'container')
  assert.equal(container?.version, '20250103_05:24')
  const older = findFiles({ ...read, versions: read.versions.slice(1) }, 'container')
  assert.deepEqual(older?.kind === 'container' && [older.rootfs.type, older.metadata?.type], [
    'root.tar.xz',
    'incus.tar.xz',
  ])
})

test('a product is found by alias, by alias and port, and by id', () => {
  const products = readProducts(
    listOf({
      'debian:bookworm:arm64:default': { ...product, arch: 'arm64' },
      'debian:bookworm:amd64:default': product,
    }),
    'x',
  )
  const found = (name: string, arch = 'x86_64') => findProduct(products, name, arch)?.id
  assert.equal(found('debian/12'), 'debian:bookworm:amd64:default')
  assert.equal(found('debian/12', 'aarch64'), 'debian:bookworm:arm64:default')
  assert.equal(found('debian/12/arm64'), 'debian:bookworm:arm64:default')
  assert.equal(found('debian:bookworm:arm64:default'), 'debian:bookworm:arm64:default')
  assert.equal(found('debian/13'), undefined)
  assert.equal(found('debian/12', 'riscv64'), undefined)
})

test('what is not of the shape is left out, and leads nowhere else', () => {
  const versions = (more: object) => ({ v: { items: { a: item('disk-kvm.img', more) } } })
  const bad = {
    a: { ...product, arch: 3 },
    b: { ...product, arch: '../x' },
    c: { ...product, versions: versions({ path: '../../secret' }) },
    d: { ...product, versions: versions({ path: '/etc/passwd' }) },
    e: { ...product, versions: versions({ path: 'a/%2e%2e/b' }) },
    f: { ...product, versions: versions({ sha256: 'abc' }) },
    g: { ...product, versions: versions({ path: 'a?b' }) },
    h: { ...product, versions: [] },
    i: null,
    [`j${'x'.repeat(2_000)}`]: product,
  }
  assert.deepEqual(readProducts(listOf(bad), 'x'), [])
  const many = Object.fromEntries(Array.from({ length: 30_000 }, (_, at) => [`p${at}`, product]))
  assert.equal(readProducts(listOf(many), 'x').length, itemLimits.products)
})

test('anything that a server sends is read or refused', () => {
  const anyItem = fc.record(
    { ftype: fc.anything(), path: fc.anything(), sha256: fc.anything(), size: fc.anything() },
    { requiredKeys: [] },
  )
  const likely = fc.oneof(
    anyItem,
    fc.record({
      ftype: fc.constant('disk-kvm.img'),
      path: fc.string(),
      sha256: fc.constant(hex),
      size: fc.double(),
    }),
  )
  const anyProduct = fc.record(
    {
      ...{
        arch: fc.oneof(fc.constant('amd64'), fc.anything()),
        aliases: fc.oneof(fc.string(), fc.anything()),
      },
      ...{ os: fc.anything(), release: fc.anything(), variant: fc.anything() },
      versions: fc.oneof(
        fc.dictionary(
          fc.string(),
          fc.record({ items: fc.oneof(fc.dictionary(fc.string(), likely), fc.anything()) }),
        ),
        fc.anything(),
      ),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(fc.oneof(fc.dictionary(fc.string(), anyProduct), fc.anything()), (products) => {
      let text: string
      try {
        text = JSON.stringify({ products, index: products })
      } catch {
        return
      }
      for (const read of [readProducts, readIndex])
        try {
          for (const one of read(text, 'x')) {
            if (typeof one === 'string') continue
            findFiles(one, 'disk')
            for (const { items } of one.versions)
              for (const { path } of items) {
                const base = 'https://host/base/'
                const url = new URL(base + path.split('/').map(encodeURIComponent).join('/'))
                assert.ok(url.href.startsWith(base), url.href)
              }
          }
        } catch (error) {
          if (!(error instanceof VisorError)) throw error
        }
    }),
    { numRuns: 1_000 },
  )
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const read of [readProducts, readIndex])
        try {
          read(text, 'x')
        } catch (error) {
          assert.ok(error instanceof VisorError)
        }
    }),
  )
})
