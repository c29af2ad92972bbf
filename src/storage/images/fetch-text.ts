/** Small files of servers: lists of digests, of images, signatures. */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { OneAtATime } from '../one-at-a-time.ts'
import { type DownloadLimits, download } from './download.ts'

export interface Fetching {
  /** Where downloads under way are kept. */
  readonly partials: string
  readonly limits?: Partial<DownloadLimits>
  /** Work on one file of `partials`. */
  readonly alone: OneAtATime
}

/** `work` with the file, which is gone afterwards. Fails as {@link download} does. */
export async function withFetched<T>(
  url: string,
  { partials, limits, alone }: Fetching,
  { maxBytes, signal }: { readonly maxBytes: number; readonly signal?: AbortSignal | undefined },
  work: (path: string) => Promise<T>,
): Promise<T> {
  const path = join(partials, `list-${crypto.randomUUID()}`)
  return alone(path, async () => {
    try {
      await download({ url, partial: path, signal, limits: { ...limits, maxBytes } })
      return await work(path)
    } finally {
      await rm(path, { force: true })
      await rm(`${path}.json`, { force: true })
    }
  })
}

/** Its text. */
export function fetchText(
  url: string,
  fetching: Fetching,
  options: { readonly maxBytes: number; readonly signal?: AbortSignal | undefined },
): Promise<string> {
  return withFetched(url, fetching, options, (path) => readFile(path, 'utf8'))
}
