/** A server on loopback that images are fetched from, whole, broken and slow. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { silentLog } from '../../driver/index.ts'
import { openImages } from '../images.ts'

export type Answer = (request: IncomingMessage, response: ServerResponse) => void

/** A server on loopback, and the images of a folder of the test's own. */
export async function opened(t: TestContext, answers: Record<string, Answer>) {
  const folder = await mkdtemp(join(tmpdir(), 'visor-test-images-'))
  const asked: string[] = []
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    asked.push(`${path} ${request.headers.range ?? ''}`.trim())
    const answer = answers[path]
    if (answer) answer(request, response)
    else response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  t.after(async () => {
    server.closeAllConnections()
    server.close()
    await rm(folder, { recursive: true, force: true })
  })
  const limits = { stallMs: 500, tries: 3, pauseMs: 1 }
  const images = openImages({ stateDirectory: folder, log: silentLog, limits })
  const pull = async (path: string, more: object = {}) =>
    images.pull?.({ source: path.startsWith('/') ? url + path : path, arch: 'x86_64', ...more }) ??
    Promise.reject(new Error('no pull'))
  const partials = async () => readdir(join(folder, 'images/.partial')).catch(() => [])
  return { folder, url, images, pull, asked, partials, server }
}

/** What it serves. */
export const body = randomBytes(3 * 2 ** 20)

/** Serves it, also in part; `break` ends the connection after so many bytes, `etag` names it. */
export const serve =
  ({
    bytes = body,
    breakAfter,
    etag = '"a"',
  }: {
    bytes?: Buffer
    breakAfter?: () => number
    etag?: string
  } = {}): Answer =>
  (request, response) => {
    const from = Number(/^bytes=(?<from>\d+)-$/u.exec(request.headers.range ?? '')?.groups?.from ?? 0)
    const goesOn = from > 0 && request.headers['if-range'] === etag
    const rest = goesOn ? bytes.subarray(from) : bytes
    response.writeHead(goesOn ? 206 : 200, {
      'content-length': rest.length,
      etag,
      ...(goesOn && { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
    })
    const most = breakAfter?.() ?? rest.length
    if (most >= rest.length) response.end(rest)
    else response.write(rest.subarray(0, most), () => response.socket?.end())
  }
