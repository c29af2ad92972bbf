/**
 * Files from servers that may be slow, break off, or send something else: resumed where it broke off, and taken only
 * with the digest that was said beforehand.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readFile, rm, stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { errorNumber, writeFileAtomic } from '../../host/index.ts'
import { type Progress, toVisorError, VisorError } from '../../model/index.ts'
import type { Digest } from './checksums.ts'

export interface DownloadLimits {
  /** Given up when nothing came for so long. */
  readonly stallMs: number
  /** How often in a row it breaks off with next to nothing. */
  readonly tries: number
  readonly pauseMs: number
  readonly maxBytes: number
}
export const usualLimits: DownloadLimits = { stallMs: 60_000, tries: 5, pauseMs: 1_000, maxBytes: 2 ** 40 }

export interface DownloadOptions {
  readonly url: string
  /** Where what came so far is kept, also over failures. */
  readonly partial: string
  readonly digest?: Digest | undefined
  readonly limits?: Partial<DownloadLimits>
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((progress: Progress) => void) | undefined
}

/** What is known of the file that a partial one is of. */
interface Mark {
  readonly url: string
  /** ETag or date: with another one it is another file. */
  readonly validator?: string
}

/**
 * Leaves the whole file at `partial`, with the digest asked for. Fails with `unavailable` when the server cannot be
 * reached or breaks off again and again (what came is kept, and the next call goes on), `not-found`, `failed` when it
 * is another file than it should be (nothing is kept), `cancelled`.
 */
export async function download(options: DownloadOptions): Promise<void> {
  const { url, partial, digest, signal } = options
  const limits = { ...usualLimits, ...options.limits }
  checkUrl(url)
  await mkdir(dirname(partial), { recursive: true, mode: 0o700 })
  let attempt = 1
  for (;;) {
    const before = await sizeOf(partial)
    try {
      await fetchRest(options, limits)
      break
    } catch (error) {
      if (signal?.aborted)
        throw new VisorError('cancelled', `The download of '${url}' was cancelled.`, {
          cause: error,
          remedy: 'Ask for it again: it goes on where it was.',
        })
      const known = toVisorError(error)
      if (!(error instanceof Interrupted) || attempt >= limits.tries)
        throw error instanceof Interrupted ? cannotFetch(url, error) : known
      await sleep(limits.pauseMs * attempt, undefined, { signal }).catch(() => {})
      // A line that breaks often, and yet gets on, is not given up.
      attempt = (await sizeOf(partial)) >= before + progressBytes ? 1 : attempt + 1
    }
  }
  await checkDigest(url, partial, digest, signal)
  await rm(markOf(partial), { force: true })
}

const progressBytes = 2 ** 20

/** It may go on. */
class Interrupted extends Error {}

const markOf = (partial: string): string => `${partial}.json`

function checkUrl(url: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed && (parsed.protocol === 'https:' || parsed.protocol === 'http:')) return parsed
  throw new VisorError('invalid-argument', `'${url.slice(0, 300)}' is no address of a file on a server.`, {
    remedy: 'Write it with https://.',
  })
}

async function fetchRest(
  { url, partial, digest, signal, progress }: DownloadOptions,
  limits: DownloadLimits,
): Promise<void> {
  const mark = await readMark(partial)
  const there = mark?.url === url && mark.validator !== undefined ? await sizeOf(partial) : 0
  const stalled = new AbortController()
  const ends = AbortSignal.any([stalled.signal, ...(signal ? [signal] : [])])
  let timer = setTimeout(() => stalled.abort(), limits.stallMs)
  const alive = () => {
    clearTimeout(timer)
    timer = setTimeout(() => stalled.abort(), limits.stallMs)
  }
  try {
    const response = await ask(url, there, mark?.validator, ends, digest)
    alive()
    const goesOn = response.status === 206 && startOf(response) === there
    if (response.status === 416 && there > 0) {
      await response.body?.cancel()
      await rm(markOf(partial), { force: true })
      throw new Interrupted('it has another length than before')
    }
    refuseStatus(url, response)
    const start = goesOn ? there : 0
    const total = totalOf(response, start)
    await refuseSize(url, partial, total === undefined ? undefined : total - start, total, limits)
    const validator = response.headers.get('etag') ?? response.headers.get('last-modified') ?? undefined
    const isWeak = validator?.startsWith('W/') ?? true
    await writeFileAtomic(
      markOf(partial),
      JSON.stringify({ url, ...(isWeak ? {} : { validator }) } satisfies Mark),
      { durable: false },
    )
    const file = await open(partial, goesOn ? 'a' : 'w', 0o600)
    let done = start
    try {
      for await (const chunk of response.body ?? []) {
        alive()
        done += chunk.length
        if (done > limits.maxBytes || (total !== undefined && done > total))
          throw new VisorError('failed', `'${url}' sends more than it said.`)
        await file.write(chunk)
        progress?.({
          phase: 'downloading',
          done,
          ...(total === undefined ? {} : { total }),
          unit: 'bytes',
        })
      }
      await file.sync()
    } finally {
      await file.close()
    }
    if (total !== undefined && done < total)
      throw new Interrupted(`it broke off after ${done} of ${total} bytes`)
  } catch (error) {
    if (error instanceof VisorError || error instanceof Interrupted) throw error
    if (errorNumber(error) === 'ENOSPC') throw noRoom(url, partial, error)
    if (stalled.signal.aborted) throw new Interrupted(`nothing came for ${limits.stallMs / 1000} s`)
    throw new Interrupted(reasonOf(error), { cause: error })
  } finally {
    clearTimeout(timer)
  }
}

/** No redirection leads from https to http, unless a digest says what comes. */
async function ask(
  url: string,
  from: number,
  validator: string | undefined,
  signal: AbortSignal,
  digest: Digest | undefined,
): Promise<Response> {
  let next = checkUrl(url)
  for (let redirects = 0; redirects <= 10; redirects++) {
    const response = await fetch(next, {
      redirect: 'manual',
      signal,
      headers: {
        'accept-encoding': 'identity',
        ...(from > 0 && validator !== undefined ? { range: `bytes=${from}-`, 'if-range': validator } : {}),
      },
    })
    const location = response.headers.get('location')
    if (response.status < 300 || response.status >= 400 || location === null) return response
    await response.body?.cancel()
    const target = checkUrl(new URL(location, next).href)
    if (next.protocol === 'https:' && target.protocol === 'http:' && !digest)
      throw new VisorError(
        'denied',
        `'${next.href}' leads to '${target.href}', which anybody on the way can change.`,
        {
          remedy: 'Say the digest that the file must have.',
        },
      )
    next = target
  }
  throw new VisorError('failed', `'${url}' leads from one address to another without end.`)
}

function refuseStatus(url: string, { status, statusText }: Response): void {
  if (status === 200 || status === 206) return
  const said = `${status} ${statusText}`.trim()
  if (status === 404 || status === 410)
    throw new VisorError('not-found', `The server has no '${url}' (${said}).`, {
      remedy: 'Correct the address, or see whether the distribution has moved the file.',
    })
  if (status === 408 || status === 429 || status >= 500) throw new Interrupted(`the server answers ${said}`)
  throw new VisorError('failed', `The server does not give '${url}' (${said}).`)
}

function startOf({ headers }: Response): number {
  return Number(/^bytes (?<start>\d+)-/u.exec(headers.get('content-range') ?? '')?.groups?.start ?? -1)
}

function totalOf({ headers }: Response, start: number): number | undefined {
  const length = headers.get('content-length')
  return length === null || !/^\d{1,15}$/u.test(length) ? undefined : start + Number(length)
}

async function refuseSize(
  url: string,
  partial: string,
  more: number | undefined,
  total: number | undefined,
  { maxBytes }: DownloadLimits,
): Promise<void> {
  if ((total ?? 0) > maxBytes)
    throw new VisorError('failed', `'${url}' has ${total} bytes, more than the ${maxBytes} that are taken.`)
  const { bsize, bavail } = await statfs(dirname(partial))
  if (more !== undefined && more > bsize * bavail)
    throw noRoom(url, partial, undefined, more - bsize * bavail)
}

function noRoom(url: string, partial: string, cause: unknown, lacking?: number): VisorError {
  const much = lacking === undefined ? '' : `: ${lacking} bytes are lacking`
  return new VisorError('failed', `There is no room for '${url}' in '${dirname(partial)}'${much}.`, {
    cause,
    remedy: 'Make room there, and ask for it again: it goes on where it was.',
  })
}

function cannotFetch(url: string, { message }: Error): VisorError {
  return new VisorError('unavailable', `'${url}' could not be fetched: ${message}.`, {
    remedy: 'See whether this host reaches the server, and ask for it again: it goes on where it was.',
  })
}

function reasonOf(error: unknown): string {
  const { cause, message } = error as Error
  return cause instanceof Error ? cause.message : message
}

async function checkDigest(
  url: string,
  path: string,
  digest: Digest | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (!digest) return
  const hash = createHash(digest.algorithm)
  await pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), hash, { signal })
  const found = hash.digest('hex')
  if (found === digest.hex) return
  await rm(path, { force: true })
  await rm(markOf(path), { force: true })
  throw new VisorError(
    'failed',
    `'${url}' is not what it should be: its ${digest.algorithm} is ${found}, not ${digest.hex}.`,
    {
      remedy: 'Fetch it again. When that does not help, the server has another file than was published.',
    },
  )
}

async function readMark(partial: string): Promise<Mark | undefined> {
  try {
    return JSON.parse(await readFile(markOf(partial), 'utf8')) as Mark
  } catch {
    return undefined
  }
}

const sizeOf = async (path: string): Promise<number> => (await stat(path).catch(() => undefined))?.size ?? 0
