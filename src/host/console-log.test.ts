import assert from 'node:assert/strict'
import { appendFile, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openConsoleLog } from './console-log.ts'

async function withFile(work: (path: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'visor-console-'))
  try {
    await work(join(directory, 'console.log'))
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks).toString('latin1')
}

test('a viewer with scrollback gets everything exactly once, also what is printed meanwhile', () =>
  withFile(async (path) => {
    await appendFile(path, 'before;')
    const log = openConsoleLog(path)
    const seen = readAll(log.follow({ scrollback: true }))
    for (let line = 0; line < 200; line++) await appendFile(path, `${line};`)
    log.end()
    assert.equal(await seen, `before;${Array.from({ length: 200 }, (_, line) => `${line};`).join('')}`)
  }))

test('a viewer without scrollback begins now, and ends with its signal', () =>
  withFile(async (path) => {
    await appendFile(path, 'old')
    const stop = new AbortController()
    const viewer = openConsoleLog(path).follow({ signal: stop.signal })
    const first = viewer.next()
    await new Promise((resolve) => setTimeout(resolve, 20))
    await appendFile(path, 'new')
    assert.equal(Buffer.from((await first).value ?? []).toString(), 'new')
    const rest = viewer.next()
    stop.abort()
    assert.equal((await rest).done, true)
  }))

test('the log takes bounded space, keeps its tail, and the writer goes on undisturbed', () =>
  withFile(async (path) => {
    const log = openConsoleLog(path, 64 * 1024)
    for (let round = 0; round < 20; round++) {
      await appendFile(path, `${String(round).padStart(8, '0')}\n`.repeat(4096))
      await log.trim()
    }
    assert.ok((await stat(path)).blocks * 512 <= 2 * 64 * 1024 + 4096)
    const tail = Buffer.from(await log.tail()).toString()
    assert.equal(tail.length, 64 * 1024)
    assert.ok(tail.endsWith('00000019\n'))
    assert.equal(Buffer.from(await log.tail(9)).toString(), '00000019\n')
    log.end()
    assert.ok((await readAll(log.follow({ scrollback: true }))).endsWith('00000019\n'))
  }))

test('a slow viewer skips what is no longer kept', () =>
  withFile(async (path) => {
    await appendFile(path, 'start')
    const log = openConsoleLog(path, 8192)
    const viewer = log.follow({ scrollback: true })
    assert.equal(Buffer.from((await viewer.next()).value ?? []).toString(), 'start')
    await appendFile(path, 'x'.repeat(100_000))
    await log.trim()
    log.end()
    const rest = await readAll(viewer)
    assert.ok(rest.length <= 2 * 8192 && /^x+$/u.test(rest))
  }))

test('a log that is not there is empty', () =>
  withFile(async (path) => {
    const log = openConsoleLog(path)
    assert.equal((await log.tail()).length, 0)
    assert.equal(await readAll(log.follow()), '')
    await log.trim()
  }))
