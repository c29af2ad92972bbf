/**
 * The bytes of volumes over HTTP: ranges and conditions of RFC 9110, digests of RFC 9530, and uploads that go on after
 * a break as draft-ietf-httpbis-resumable-upload says.
 */
import type { Content, DownloadOptions, VolumeContent } from '../../driver/index.ts'
import { type Upload, VisorError, type VolumeFormat } from '../../model/index.ts'
import { encodePlain, fromStream, toStream } from '../content/bytes.ts'
import { partialType, plainType, sparseType } from '../content/media-types.ts'
import { decodeSparse, encodeSparse } from '../content/sparse-frames.ts'
import { HttpRefusal, mediaType, unsupportedMediaType } from './body.ts'
import type { Call, Handler } from './call.ts'
import { matches, parseRange } from './range.ts'
import { json, noContent } from './reply.ts'

/** Of a browser's form, which the volume is not. */
const bodyTypes = [plainType, partialType, sparseType]

/** The bytes that a request brings. */
export function readContent({ request, context }: Call): Content {
  const type = mediaType(request) ?? plainType
  if (!bodyTypes.includes(type)) throw unsupportedMediaType(type, bodyTypes)
  const chunks = brokenOff(context.body ?? fromStream(request.body))
  return type === sparseType ? decodeSparse(chunks) : chunks
}

/** A connection that ends too soon is nobody's fault here. */
async function* brokenOff(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks
  } catch (cause) {
    throw new VisorError('unavailable', 'The connection broke off before all had come.', { cause })
  }
}

/** GET of the bytes of a volume. */
export async function sendContent(
  call: Call,
  download: (options: DownloadOptions) => Promise<VolumeContent>,
  options: DownloadOptions,
): Promise<Response> {
  const { request } = call
  const { headers } = request
  const checksum = options.checksum || /\bsha-256=(?!0)/u.test(headers.get('want-repr-digest') ?? '')
  const wanted = { ...options, ...(checksum && { checksum }), signal: request.signal }
  const isWhole = options.format === undefined
  const asked = isWhole ? headers.get('range') : null
  const isConditional = headers.has('if-match') || headers.has('if-none-match') || asked !== null
  let range: { offset: number; lengthBytes: number } | undefined
  if (isConditional && isWhole) {
    const { sizeBytes, entityTag, close } = await download({})
    await close()
    const tag = `"${entityTag}"`
    if (!matches(headers.get('if-match'), tag, true)) throw changed()
    if (headers.has('if-none-match') && matches(headers.get('if-none-match'), tag, false))
      return new Response(null, { status: 304, headers: { etag: tag } })
    const condition = headers.get('if-range')
    if (asked !== null && (condition === null || condition === tag)) range = parseRange(asked, sizeBytes)
  }
  return answerContent(await download({ ...wanted, ...range }), call, range !== undefined)
}

async function answerContent(
  content: VolumeContent,
  { request, url }: Call,
  isRange: boolean,
): Promise<Response> {
  const { sizeBytes, offset, lengthBytes, entityTag, format, sha256 } = content
  const isSparse = (request.headers.get('accept') ?? '').includes(sparseType)
  const isPart = isRange || url.searchParams.has('offset') || url.searchParams.has('lengthBytes')
  const headers = new Headers({
    'content-type': isSparse ? sparseType : plainType,
    'accept-ranges': 'bytes',
    etag: `"${entityTag}"`,
    vary: 'accept',
    'visor-size': String(sizeBytes),
    'visor-offset': String(offset),
    'visor-length': String(lengthBytes),
    'visor-format': format,
  })
  if (!isSparse) headers.set('content-length', String(lengthBytes))
  if (isPart && lengthBytes > 0)
    headers.set('content-range', `bytes ${offset}-${offset + lengthBytes - 1}/${sizeBytes}`)
  if (sha256 !== undefined) headers.set('repr-digest', `sha-256=:${toBase64(sha256)}:`)
  const status = isPart && lengthBytes > 0 ? 206 : 200
  if (request.method === 'HEAD') {
    await content.close()
    return new Response(null, { status, headers })
  }
  return new Response(toStream(isSparse ? encodeSparse(content) : encodePlain(content)), { status, headers })
}

/** PATCH of an upload: more of it, and its end when `Upload-Complete: ?1` says so. */
export const appendUpload: Handler = async (call) => {
  const { connection, parameters, request } = call
  const { pool = '', upload = '' } = parameters
  const offset = readNumber(call, 'upload-offset', 'offset')
  const content = readContent(call)
  const came = await connection.uploads.append(pool, upload, content, { offset })
  const complete = request.headers.get('upload-complete')
  if (complete === null) return json(came, { headers: uploadHeaders(came) })
  if (complete !== '?1') return progressOf(came, 204)
  return json(await connection.uploads.finish(pool, upload), { headers: { 'upload-complete': '?1' } })
}

/** GET and HEAD of an upload. */
export const describeUpload: Handler = async ({ connection, parameters }) => {
  const { pool = '', upload = '' } = parameters
  const found = await connection.uploads.get(pool, upload)
  return json(found, { headers: uploadHeaders(found) })
}

/** PUT of the bytes of a volume: begins an upload, takes what comes, and makes it the volume. */
export const putContent: Handler = async (call) => {
  const { connection, parameters, request, url } = call
  const { pool = '', volume = '' } = parameters
  const { headers } = request
  const isSparse = mediaType(request) === sparseType
  const length = headers.get(
    isSparse ? 'upload-length' : headers.has('upload-length') ? 'upload-length' : 'content-length',
  )
  const isBegun = headers.get('upload-complete') === '?0'
  const sizeBytes = length === null ? undefined : toNumber(length, 'Upload-Length')
  const known = new Set(['format', 'replace'])
  for (const name of url.searchParams.keys())
    if (!known.has(name))
      throw new VisorError('invalid-argument', `There is no query parameter '${name}' here.`, { path: name })
  const format = url.searchParams.get('format')
  const sha256 = readDigest(headers.get('repr-digest'))
  const replace =
    ['', 'true'].includes(url.searchParams.get('replace') ?? 'false') && !headers.has('if-none-match')
  const begun = await connection.uploads.create(pool, {
    volume,
    ...(sizeBytes !== undefined && !(isBegun && !headers.has('upload-length')) && { sizeBytes }),
    // The guard holds it against the formats there are.
    ...(format !== null && { format: format as VolumeFormat }),
    ...(sha256 !== undefined && { sha256 }),
    ...(replace && { replace }),
  })
  const came = await connection.uploads.append(pool, begun.id, readContent(call), { offset: 0 })
  if (isBegun) return progressOf(came, 201)
  const made = await connection.uploads.finish(pool, begun.id)
  return json(made, { status: replace ? 200 : 201 })
}

function progressOf(upload: Upload, status: 201 | 204): Response {
  const headers = uploadHeaders(upload)
  return status === 204 ? noContent(headers) : json(upload, { status, headers })
}

function uploadHeaders({ pool, id, offset, sizeBytes }: Upload): Record<string, string> {
  return {
    location: `/v1/pools/${encodeURIComponent(pool)}/uploads/${id}`,
    'upload-offset': String(offset),
    'upload-complete': '?0',
    ...(sizeBytes !== undefined && { 'upload-length': String(sizeBytes) }),
  }
}

function readNumber({ request, url }: Call, header: string, parameter: string): number {
  const text = request.headers.get(header) ?? url.searchParams.get(parameter)
  if (text === null)
    throw new VisorError('invalid-argument', `The header '${header}' is missing: where the first byte goes.`)
  return toNumber(text, header)
}

function toNumber(text: string, what: string): number {
  const number = /^\d{1,16}$/u.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(number)) return number
  throw new VisorError('invalid-argument', `'${what}' is '${text}', not a number of bytes.`)
}

/** RFC 9530, 3: `sha-256=:BASE64:`, maybe among others. */
function readDigest(header: string | null): string | undefined {
  if (header === null) return undefined
  const found = /(?:^|,)\s*sha-256=:(?<digest>[A-Za-z0-9+/]{43}=):\s*(?:,|$)/u.exec(header)?.groups?.digest
  if (found === undefined)
    throw new VisorError('invalid-argument', `No SHA-256 can be read of '${header.slice(0, 100)}'.`, {
      path: 'Repr-Digest',
      remedy: "Write 'sha-256=:BASE64:'; other digests are not checked.",
    })
  return Array.from(atob(found), (byte) => byte.charCodeAt(0).toString(16).padStart(2, '0')).join('')
}

function toBase64(hex: string): string {
  return btoa(hex.replace(/../gu, (pair) => String.fromCharCode(Number.parseInt(pair, 16))))
}

function changed(): HttpRefusal {
  return new HttpRefusal(
    412,
    new VisorError('conflict', 'The volume is not the one that If-Match names any more.'),
  )
}
