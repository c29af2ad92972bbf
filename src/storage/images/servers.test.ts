import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { runChecked } from '../../host/index.ts'
import type { VisorError } from '../../model/index.ts'
import { type Answer, opened, serve } from '../testing/image-server.ts'
import { noQemuImg } from '../testing/open-for-test.ts'

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const rootfs = Buffer.concat([Buffer.from('fd377a585a00', 'hex'), Buffer.alloc(5_000, 7)])
const squashfs = Buffer.concat([Buffer.from('hsqs'), Buffer.alloc(5_000, 9)])
const metadata = Buffer.concat([Buffer.from('fd377a585a00', 'hex'), Buffer.alloc(50, 1)])

const text =
  (body: string): Answer =>
  (_, response) =>
    void response.end(body)

/** A server of the form of images.linuxcontainers.org, which a file of the host names. */
async function streams(t: TestContext) {
  const answers: Record<string, Answer> = {}
  const there = await opened(t, answers)
  const { folder, url } = there
  const image = join(folder, 'disk.qcow2')
  if (!noQemuImg) {
    await runChecked('qemu-img', ['create', '-q', '-f', 'qcow2', image, '8M'])
    await runChecked('qemu-io', ['-f', 'qcow2', '-c', 'write -P 5 1M 64k', image])
  } else await writeFile(image, 'none')
  const disk = await readFile(image)
  const item = (path: string, ftype: string, bytes: Buffer) => ({
    ftype,
    path,
    sha256: digest(bytes),
    size: bytes.length,
  })
  const folderOf = 'images/debian/bookworm/amd64/default/20250102_05:24'
  const items = {
    'incus.tar.xz': item(`${folderOf}/incus.tar.xz`, 'incus.tar.xz', metadata),
    'disk.qcow2': item(`${folderOf}/disk.qcow2`, 'disk-kvm.img', disk),
    'root.squashfs': item(`${folderOf}/rootfs.squashfs`, 'squashfs', squashfs),
    'root.tar.xz': item(`${folderOf}/root.tar.xz`, 'root.tar.xz', rootfs),
  }
  const product = {
    ...{ aliases: 'debian/12/default,debian/12', arch: 'amd64', os: 'Debian', release: 'bookworm' },
    versions: { '20250102_05:24': { items } },
  }
  const products: Record<string, unknown> = { 'debian:bookworm:amd64:default': product }
  const index = { images: { datatype: 'image-downloads', path: 'streams/v1/images.json' } }
  answers['/base/streams/v1/index.json'] = text(JSON.stringify({ format: 'index:1.0', index }))
  answers['/base/streams/v1/images.json'] = (_, response) => void response.end(JSON.stringify({ products }))
  answers[`/base/${folderOf}/disk.qcow2`] = serve({ bytes: disk })
  answers[`/base/${folderOf}/incus.tar.xz`] = serve({ bytes: metadata })
  answers[`/base/${folderOf}/root.tar.xz`] = serve({ bytes: rootfs })
  answers[`/base/${folderOf}/rootfs.squashfs`] = serve({ bytes: squashfs })
  await mkdir(join(folder, 'remotes'))
  const server = { name: 'lab', type: 'simplestreams', title: 'Of the lab', url: `${url}/base/` }
  await writeFile(join(folder, 'remotes/lab.json'), JSON.stringify({ servers: [server] }))
  return { ...there, answers, disk, products, product, items, folderOf }
}

test('the disk of a machine is pulled from a server', { skip: noQemuImg }, async (t) => {
  const { pull, disk, asked, images, partials } = await streams(t)
  const image = await pull('lab:debian/12')
  assert.deepEqual(await readFile(image.disk ?? ''), disk)
  assert.deepEqual([image.name, image.kind, image.format], ['lab-debian-12', 'disk', 'qcow2'])
  assert.equal(image.title, 'Debian bookworm (20250102_05:24)')
  await runChecked('qemu-img', ['check', '-q', image.disk ?? ''])
  assert.equal((await images.get('lab-debian-12:x86_64')).virtualSizeBytes, 8 * 2 ** 20)
  const before = asked.length
  assert.deepEqual(await pull('lab:debian/12'), image)
  assert.equal(asked.length, before + 2, 'only the lists are asked for')
  assert.equal((await pull('lab:debian/12', { name: 'own' })).name, 'own')
  assert.deepEqual(await partials(), [])
})

test('the root file system of a container is pulled from a server', async (t) => {
  const { pull, images, items } = await streams(t)
  const image = await pull('lab:debian/12', { kind: 'container' })
  assert.deepEqual([image.name, image.kind, image.format], ['lab-debian-12-container', 'container', 'tar.xz'])
  assert.deepEqual(await readFile(image.rootfs ?? ''), rootfs)
  assert.deepEqual(await readFile(image.metadata ?? ''), metadata)
  assert.deepEqual(await pull('lab:debian/12', { kind: 'container' }), image)
  await assert.rejects(images.export(image.name), { code: 'invalid-argument' })
  Reflect.deleteProperty(items, 'root.tar.xz')
  const squashed = await pull('lab:debian/12', { kind: 'container', name: 'squashed' })
  assert.equal(squashed.format, 'squashfs')
  assert.deepEqual(await readFile(squashed.rootfs ?? ''), squashfs)
  await assert.rejects(pull('lab:debian/12', { kind: 'container', checksum: `sha256:${'a'.repeat(64)}` }), {
    code: 'invalid-argument',
  })
})

test('what a server has is listed', async (t) => {
  const { images, products, product } = await streams(t)
  products['debian:bookworm:arm64:default'] = { ...product, arch: 'arm64' }
  products.broken = { arch: 'amd64' }
  assert.deepEqual(await images.published({ server: 'lab' }), [
    {
      ...{ name: 'lab:debian/12', title: 'Debian bookworm', aliases: ['debian/12/default'] },
      ...{ arches: ['x86_64', 'aarch64'], kinds: ['disk', 'container'] },
    },
  ])
  assert.deepEqual(
    (await images.servers()).map(({ name }) => name),
    ['lab', 'images', 'ubuntu', 'ubuntu-daily'],
  )
  await assert.rejects(images.published({ server: 'labb' }), { code: 'not-found', message: /no server/u })
})

test('what is not there is told with what is', async (t) => {
  const { pull, items } = await streams(t)
  const fails = async (source: string, options: object, wanted: RegExp) =>
    assert.rejects(pull(source, options), (error: VisorError) => {
      assert.equal(error.code, 'not-found')
      assert.match(`${error.message} ${error.remedy}`, wanted)
      return true
    })
  await fails('lab:debain/12', {}, /Did you mean 'lab:debian\/12'/u)
  await fails('lab:debian/12', { arch: 'aarch64' }, /is there for x86_64/u)
  Reflect.deleteProperty(items, 'disk.qcow2')
  await fails('lab:debian/12', {}, /not the disk of a machine.* --container/u)
})

test('a server that sends something else is told of, and nothing is kept', async (t) => {
  const { pull, answers, folderOf, images, partials, disk } = await streams(t)
  const path = `/base/${folderOf}/root.tar.xz`
  const container = () => pull('lab:debian/12', { kind: 'container' })
  answers[path] = serve({ bytes: Buffer.from(rootfs).fill(0, 100, 101) })
  await assert.rejects(container(), { code: 'failed', message: /is not what it should be/u })
  answers[path] = serve({ bytes: rootfs.subarray(0, 1_000) })
  await assert.rejects(container(), { code: 'failed', message: /is not what it should be/u })
  answers[`/base/${folderOf}/disk.qcow2`] = serve({ bytes: disk.subarray(0, 100) })
  await assert.rejects(pull('lab:debian/12'), { code: 'failed', message: /is not what it should be/u })
  assert.deepEqual(await images.list(), [])
  const list = '/base/streams/v1/images.json'
  answers[list] = text('<html>')
  await assert.rejects(container(), { code: 'failed', message: /is not JSON/u })
  answers[list] = text('{"products":[]}')
  await assert.rejects(container(), { code: 'failed', message: /no list of products/u })
  answers[list] = (_, response) => void response.writeHead(200, { 'content-length': 2 ** 26 }).write('{')
  await assert.rejects(container(), { code: 'failed', message: /more than the/u })
  answers[list] = (_, response) => void response.writeHead(302, { location: '/base/moved.json' }).end()
  await assert.rejects(container(), { code: 'not-found' })
  answers[list] = (_, response) => void response.writeHead(200, { 'content-length': 100 }).write('{')
  await assert.rejects(container(), { code: 'unavailable', message: /nothing came/u })
  assert.deepEqual(await images.list(), [])
  // What came of a file that broke off would be gone on with; of lists nothing is kept.
  assert.deepEqual(await partials(), [])
})

test('an archive that is none is not taken', async (t) => {
  const { pull, answers, folderOf, items } = await streams(t)
  const bytes = Buffer.from('#!/bin/sh\n')
  answers[`/base/${folderOf}/root.tar.xz`] = serve({ bytes })
  items['root.tar.xz'].sha256 = digest(bytes)
  await assert.rejects(pull('lab:debian/12', { kind: 'container' }), { message: /no compressed tar file/u })
})

test('an architecture behind the name of a distribution is no name on a server', async (t) => {
  const answers: Record<string, Answer> = {}
  const { pull, folder, url } = await opened(t, answers)
  await mkdir(join(folder, 'remotes'))
  const named = { title: 'x', name: 'twice' }
  const image = {
    ...{ ...named, base: `${url}/`, format: 'raw', files: { x86_64: 'a.raw' } },
    checksums: { file: 'SUMS', algorithm: 'sha256' },
  }
  const server = { ...named, type: 'simplestreams', url: `${url}/s/` }
  await writeFile(join(folder, 'remotes/a.json'), JSON.stringify({ images: [image], servers: [server] }))
  answers['/a.raw'] = serve({ bytes: rootfs })
  answers['/SUMS'] = text(`${digest(rootfs)}  a.raw\n`)
  assert.equal((await pull('twice:x86_64')).name, 'twice')
  await assert.rejects(pull('twice:debian/12'), {
    code: 'not-found',
    message: /s\/streams\/v1\/index\.json/u,
  })
})
