import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { openImageCache } from './image-cache.ts'

let directory = ''
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'visor-images-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

function maker(content: string, before: () => Promise<void> = async () => {}) {
  return async (output: string, scratch: string) => {
    await writeFile(join(scratch, 'package'), 'much')
    await writeFile(join(output, 'vmlinuz'), content)
    await before()
    return {
      name: 'micro',
      arch: 'i686',
      kind: 'kernel' as const,
      kernel: 'vmlinuz',
      commandLine: 'quiet',
      sources: [],
      recipe: 'a',
    }
  }
}

test('a build comes into force, and another takes its place at the same path', async () => {
  const cache = openImageCache(directory)
  assert.equal(await cache.find('micro', 'i686'), undefined)
  const first = await cache.replace(maker('one'))
  const second = await cache.replace(maker('two'))
  assert.equal(second.kernel, first.kernel)
  assert.notEqual(second.sha256, first.sha256)
  assert.equal(await readFile(second.kernel ?? '', 'utf8'), 'two')
  assert.deepEqual(await cache.list(), [second])
  assert.equal((await readdir(directory)).length, 2, 'The link and the one build it names.')
  await cache.remove('micro', 'i686')
  assert.deepEqual(await readdir(directory), [])
})

test('a build that fails leaves what was there', async () => {
  const cache = openImageCache(directory)
  const before = await cache.replace(maker('one'))
  const failing = maker('two', () => Promise.reject(new Error('no network')))
  await assert.rejects(cache.replace(failing), /no network/u)
  assert.deepEqual(await cache.find('micro', 'i686'), before)
  assert.equal((await readdir(directory)).length, 2)
})

test('two builds at once do not disturb each other', async () => {
  const [one, two] = [openImageCache(directory), openImageCache(directory)]
  const images = await Promise.all([one.replace(maker('one')), two.replace(maker('two'))])
  const found = await one.find('micro', 'i686')
  assert.ok(images.some(({ sha256 }) => sha256 === found?.sha256))
  await one.replace(maker('three'))
  assert.equal((await readdir(directory)).length, 2)
})

test('an image of another recipe is none for who asks for this one', async () => {
  const cache = openImageCache(directory)
  const image = await cache.replace(maker('one'))
  assert.equal(await cache.find('micro', 'i686', 'b'), undefined)
  assert.deepEqual(await cache.find('micro', 'i686', 'a'), image)
  assert.deepEqual(await cache.find('micro', 'i686'), image)
})

test('damage is found, also after a good look', async () => {
  const cache = openImageCache(directory)
  const { kernel = '' } = await cache.replace(maker('one'))
  await cache.find('micro', 'i686')
  await writeFile(kernel, 'two')
  await assert.rejects(cache.find('micro', 'i686'), { code: 'failed', remedy: /visor image build micro/u })
  await truncate(kernel, 0)
  await assert.rejects(openImageCache(directory).find('micro', 'i686'), { code: 'failed' })
})

test('what a killed builder left is removed by the next build', async () => {
  const program = `
    import { openImageCache } from ${JSON.stringify(join(import.meta.dirname, 'image-cache.ts'))}
    await openImageCache(${JSON.stringify(directory)}).replace(async () => {
      console.log('building')
      await new Promise(() => setInterval(() => {}, 1000))
    })`
  const builder = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(builder.stdout, 'data')
  const cache = openImageCache(directory)
  await cache.replace(maker('one'))
  assert.equal((await readdir(directory)).length, 4, 'The other one is still building.')
  builder.kill('SIGKILL')
  await once(builder, 'exit')
  await cache.replace(maker('two'))
  assert.equal((await readdir(directory)).length, 2)
  assert.ok(await cache.find('micro', 'i686'))
})
