/** Small files of servers: lists of digests, of images, signatures. */
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { OneAtATime } from '../one-at-a-time.ts'
import { type DownloadLimits, download } from './download.ts'
import { type SignedList, type VerifiedList, verifyList } from './signatures.ts'

export interface Fetching {
  /** Where downloads under way are kept. */
  readonly partials: string
  readonly limits?: Partial<DownloadLimits>
  /** Work on one file of `partials`. */
  readonly alone: OneAtATime
}

/** `work` with the file, which is gone afterwards. Fails as {@link download} does. */
async function withFetched<T>(
  url: string,
  { partials, limits, alone }: Fetching,
  { maxBytes, signal }: Bounds,
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

interface Bounds {
  readonly maxBytes: number
  readonly signal?: AbortSignal | undefined
}

/** Its text, and with which key it is signed where it has to be. */
export function fetchSigned(
  {
    url,
    signature,
  }: {
    readonly url: string
    /** Without an address the list is signed in itself. */
    readonly signature?: (Pick<SignedList, 'keys' | 'required'> & { readonly url?: string }) | undefined
  },
  fetching: Fetching,
  bounds: Bounds,
): Promise<VerifiedList> {
  return withFetched(url, fetching, bounds, async (path) => {
    if (!signature) return { text: await readFile(path, 'utf8') }
    const { keys, required } = signature
    if (signature.url === undefined) return verifyList({ url, path, keys, required })
    return withFetched(signature.url, fetching, { ...bounds, maxBytes: 2 ** 20 }, (file) =>
      verifyList({ url, path, signature: file, keys, required }),
    )
  })
}
