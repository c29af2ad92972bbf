import { VisorError } from '../../model/index.ts'

/** A refusal for which HTTP has a status of its own. */
export class HttpRefusal extends VisorError {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, error: VisorError, headers: Readonly<Record<string, string>> = {}) {
    super(error.code, error.message, error)
    this.status = status
    this.headers = headers
  }
}

/** The body as text. Fails with status 413 as soon as it is longer than `limitBytes`. */
export async function readText(request: Request, limitBytes: number): Promise<string> {
  const declared = Number(request.headers.get('content-length') ?? 0)
  if (declared > limitBytes) throw tooLarge(limitBytes)
  if (!request.body) return ''
  const reader = request.body.getReader()
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let text = ''
  let length = 0
  try {
    while (true) {
      const { done, value } = await reader.read()
      if (done) return text + decoder.decode()
      length += value.byteLength
      if (length > limitBytes) throw tooLarge(limitBytes)
      text += decoder.decode(value, { stream: true })
    }
  } catch (error) {
    await reader.cancel().catch(() => {})
    if (error instanceof TypeError)
      throw new VisorError('invalid-argument', 'The body is not UTF-8 text.', { cause: error })
    throw error
  }
}

/** The body as a JSON object; an empty body is an empty object. */
export async function readJsonObject(request: Request, limitBytes: number): Promise<Record<string, unknown>> {
  const text = await readText(request, limitBytes)
  if (text.trim() === '') return {}
  const type = mediaType(request)
  if (type !== undefined && type !== 'application/json')
    throw unsupportedMediaType(type, ['application/json'])
  const value = parseJson(text)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new VisorError('invalid-argument', 'The body is not a JSON object.', {
      remedy: 'Send the options as an object, such as {"paused": true}, or nothing at all.',
    })
  return value as Record<string, unknown>
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : ''
    throw new VisorError('invalid-argument', `The body is not JSON: ${detail}.`, { cause })
  }
}

/** The media type of the body, without parameters; undefined when it is not said. */
export function mediaType(request: Request): string | undefined {
  const type = request.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase()
  // Only where a program gave none does a fetch implementation add text/plain of its own.
  return type === '' || type === 'text/plain' ? undefined : type
}

/** Status 415, naming what would do. */
export function unsupportedMediaType(type: string, known: readonly string[]): HttpRefusal {
  return new HttpRefusal(
    415,
    new VisorError('invalid-argument', `The body is of type '${type}', which cannot be read here.`, {
      remedy: `Send ${known.join(' or ')}, and say so in Content-Type.`,
    }),
    { accept: known.join(', ') },
  )
}

function tooLarge(limitBytes: number): HttpRefusal {
  return new HttpRefusal(
    413,
    new VisorError('invalid-argument', `The body is longer than ${limitBytes} bytes.`),
    { connection: 'close' },
  )
}
