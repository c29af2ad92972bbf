/** What the API document says of the bytes of volumes. */
import { Volume } from '../../model/index.ts'
import { partialType, plainType, sparseType } from '../content/media-types.ts'
import type { Answer, ApiOperation, Content, Parameter } from './openapi.ts'
import type { SchemaBook } from './openapi-schemas.ts'
import type { ExtraOperation } from './openapi-text.ts'

const parameter = (where: Parameter['in'], name: string, description: string): Parameter => ({
  name,
  in: where,
  description,
  ...(where === 'path' && { required: true }),
  schema: { type: 'string' },
})
const header = (name: string, description: string) => parameter('header', name, description)
const either: Content = { [plainType]: { schema: {} }, [sparseType]: { schema: {} } }
const told = (description: string) => ({ description, schema: { type: 'string' } })

export const downloadText =
  'Of the whole, or of one range. With `Accept: application/vnd.visor.sparse` runs of zeros are not sent. What is converted is sent whole.'

export const downloadParameters: readonly Parameter[] = [
  header('Range', 'One range of bytes (RFC 9110, 14).'),
  header('If-Range', 'Entity tag that the range is of; another one is sent whole.'),
  header('If-Match', 'Only when it has this entity tag; else 412.'),
  header('If-None-Match', 'Entity tag that the reader has; 304 when it is current.'),
  header('Want-Repr-Digest', '`sha-256=1`: the SHA-256 of the whole in `Repr-Digest` (RFC 9530).'),
]

export const appendParameters: readonly Parameter[] = [
  header('Upload-Offset', 'Where the first byte goes; in place of the parameter `offset`.'),
  header('Upload-Complete', '`?1`: this is the rest; the answer is the volume.'),
]

export const contentBody: NonNullable<ApiOperation['requestBody']> = {
  required: true,
  content: { ...either, [partialType]: { schema: {} } },
}

export const contentAnswers: Readonly<Record<string, Answer>> = {
  '200': {
    description: 'The bytes.',
    headers: {
      ETag: told('Another one when the bytes have changed.'),
      'Repr-Digest': told('SHA-256 of the whole, when it was asked for.'),
    },
    content: either,
  },
  '206': {
    description: 'A part of them.',
    headers: { 'Content-Range': told('Which part.') },
    content: either,
  },
  '304': { description: 'Not changed.' },
}

/** PUT of the bytes of a volume. */
export function putContent(schemas: SchemaBook): ExtraOperation {
  const volume = { 'application/json': { schema: schemas.use(Volume) } }
  return {
    method: 'PUT',
    path: '/v1/pools/{pool}/volumes/{volume}/content',
    operation: {
      operationId: 'volumes.content.put',
      summary: 'Makes a volume of the body, at once and whole.',
      description:
        'What broke off stays for a day at /v1/pools/{pool}/uploads and can be gone on with. `Upload-Complete: ?0` only begins one: the answer says where it is.',
      tags: ['uploads'],
      parameters: [
        parameter('path', 'pool', 'name of the pool'),
        parameter('path', 'volume', 'name of the volume'),
        parameter('query', 'format', 'image format; as the name of the volume says without it'),
        parameter('query', 'replace', '`true`: it may take the place of a volume of this name'),
        header('If-None-Match', '`*`: only when there is none, whatever `replace` says.'),
        header('Repr-Digest', '`sha-256=:BASE64:` that it must have (RFC 9530).'),
        header('Upload-Length', 'How long the whole is, when the body is not.'),
        header('Upload-Complete', '`?0`: more comes with PATCH.'),
      ],
      requestBody: contentBody,
      responses: {
        '200': { description: 'Replaced.', content: volume },
        '201': { description: 'Made, or begun.', content: volume },
        default: { $ref: '#/components/responses/Problem' },
      },
      'x-access': 'admin',
    },
  }
}
