import assert from 'node:assert/strict'
import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openConsoleLog } from './console-log.ts'
import { openConsoleViewer } from './console-viewer.ts'

/** A guest that says back at once what is typed, after `old` was printed. */
async function withViewer(
  scrollback: boolean,
  work: (viewer: Awaited<ReturnType<typeof openConsoleViewer>>, closed: () => number) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'visor-viewer-'))
  const path = join(directory, 'console.log')
  let closed = 0
  try {
    await appendFile(path, 'old;')
    const viewer = await openConsoleViewer(openConsoleLog(path), {
      scrollback,
      write: (bytes) => appendFile(path, bytes),
      onClose: () => closed++,
    })
    await work(viewer, () => closed)
    await viewer.close()
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

const read = async (viewer: AsyncIterable<Uint8Array>) => {
  for await (const bytes of viewer) return Buffer.from(bytes).toString()
  return undefined
}

test('an answer that is printed before the first look is not missed', () =>
  withViewer(false, async (viewer) => {
    await viewer.write(Buffer.from('answer'))
    assert.equal(await read(viewer), 'answer')
    await viewer.write(Buffer.from('another'))
    assert.equal(await read(viewer), 'another')
  }))

test('with scrollback it begins with what was printed before', () =>
  withViewer(true, async (viewer) => {
    assert.equal(await read(viewer), 'old;')
  }))

test('a close ends who looks, is told once, and nothing can be typed afterwards', () =>
  withViewer(false, async (viewer, closed) => {
    const looking = read(viewer)
    await viewer.close()
    await viewer.close()
    assert.equal(await looking, undefined)
    assert.equal(closed(), 1)
    await assert.rejects(viewer.write(Buffer.from('late')), { code: 'invalid-state' })
  }))
