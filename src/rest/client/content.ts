/** The bytes of volumes over HTTP, from the client's end. */
import type { CallOptions, Content, ContentPart, VolumeContent } from '../../driver/index.ts'
import { VisorError, type VolumeFormat, volumeFormats } from '../../model/index.ts'
import { fromStream, toStream } from '../content/bytes.ts'
import { sparseType } from '../content/media-types.ts'
import { decodeSparse, encodeSparse } from '../content/sparse-frames.ts'
import type { Route } from '../routes.ts'
import { readJson, type Send } from './http.ts'

/** Calls an operation that sends or gets the bytes of a volume; holes are not sent. */
export async function transferContent(
  { method, operation }: Route,
  send: Send,
  path: string,
  body: unknown,
  options: unknown,
): Promise<unknown> {
  const { signal, progress, onJob: _, ...query } = (options ?? {}) as CallOptions & Record<string, unknown>
  const request = { method, path, query, signal }
  if (operation.result === 'content')
    return openContent(await send({ ...request, headers: { accept: sparseType } }))
  const stream = toStream(encodeSparse(counted(body as Content, Number(query.offset ?? 0), progress)))
  return readJson(await send({ ...request, stream, headers: { 'content-type': sparseType } }))
}

/** Tells how much of it went out. */
async function* counted(
  content: Content,
  offset: number,
  progress: CallOptions['progress'],
): AsyncGenerator<ContentPart> {
  let done = offset
  for await (const part of content) {
    yield part
    done += part instanceof Uint8Array ? part.length : part.holeBytes
    progress?.({ phase: 'sending', done, unit: 'bytes' })
  }
}

function openContent(response: Response): VolumeContent {
  const { headers, body } = response
  const format = volumeFormats.find((one) => one === headers.get('visor-format'))
  const [sizeBytes, offset, lengthBytes] = ['size', 'offset', 'length'].map((name) =>
    Number(headers.get(`visor-${name}`) ?? Number.NaN),
  ) as [number, number, number]
  const isWhole = [sizeBytes, offset, lengthBytes].every(Number.isSafeInteger)
  if (!isWhole || !format || headers.get('content-type') !== sparseType)
    throw new VisorError('unavailable', 'What answered did not send the bytes of a volume.', {
      remedy: 'See that the server and this client are of the same version.',
    })
  const sha256 = readDigest(headers.get('repr-digest'))
  const parts = readParts(body, lengthBytes)
  return {
    ...{ sizeBytes, offset, lengthBytes, format: format satisfies VolumeFormat },
    entityTag: (headers.get('etag') ?? '').replaceAll('"', ''),
    ...(sha256 !== undefined && { sha256 }),
    async close() {
      if (body && !body.locked) await body.cancel()
      else await parts.return(undefined)
    },
    [Symbol.asyncIterator]: () => parts,
  }
}

async function* readParts(
  body: ReadableStream<Uint8Array> | null,
  lengthBytes: number,
): AsyncGenerator<ContentPart> {
  let came = 0
  for await (const part of decodeSparse(unlessBroken(body))) {
    came += part instanceof Uint8Array ? part.length : part.holeBytes
    yield part
  }
  if (came !== lengthBytes)
    throw new VisorError('unavailable', `${came} of ${lengthBytes} bytes of the volume came.`)
}

async function* unlessBroken(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  try {
    yield* fromStream(body)
  } catch (cause) {
    throw new VisorError('unavailable', 'The bytes of the volume broke off.', { cause })
  }
}

function readDigest(header: string | null): string | undefined {
  const digest = /sha-256=:(?<digest>[A-Za-z0-9+/]{43}=):/u.exec(header ?? '')?.groups?.digest
  return (
    digest && Array.from(atob(digest), (byte) => byte.charCodeAt(0).toString(16).padStart(2, '0')).join('')
  )
}
