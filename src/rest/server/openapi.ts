/**
 * The OpenAPI 3.1 document, made from the table of operations and the descriptions of the nouns: what is
 * served and what is documented cannot differ.
 */
import { findOperation, type Operation } from '../../driver/index.ts'
import { Job, type JsonSchema, type schema as s } from '../../model/index.ts'
import { Problem, problemType } from '../problem.ts'
import { changes, optionsInQuery, pathParameters, type Route, routes } from '../routes.ts'
import { definitionHandlers, definitionTypes } from './definition.ts'
import {
  appendParameters,
  contentAnswers,
  contentBody,
  downloadParameters,
  downloadText,
} from './openapi-content.ts'
import { componentSchemas, type SchemaBook } from './openapi-schemas.ts'
import { extraOperations, guide, tags } from './openapi-text.ts'
import { isListRoute } from './operate.ts'
import { fieldsOf } from './query.ts'

export interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly description: string
  readonly required?: boolean
  readonly schema: JsonSchema
}
export interface Content {
  readonly [mediaType: string]: { readonly schema: JsonSchema }
}
export interface Answer {
  readonly description: string
  readonly content?: Content
  readonly headers?: Readonly<Record<string, unknown>>
}
export interface ApiOperation {
  readonly operationId: string
  readonly summary: string
  readonly description?: string
  readonly tags: readonly string[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly required: boolean; readonly content: Content }
  readonly responses: Readonly<Record<string, Answer | { readonly $ref: string }>>
  readonly security?: readonly []
  /** The access level a login needs. */
  readonly 'x-access'?: string
}
export type ApiMethod = 'get' | 'put' | 'post' | 'patch' | 'delete'
export interface OpenApi {
  readonly openapi: '3.1.0'
  readonly info: { readonly title: string; readonly version: string; readonly description: string }
  readonly servers: readonly { readonly url: string }[]
  readonly tags: readonly { readonly name: string; readonly description: string }[]
  readonly security: readonly Readonly<Record<string, readonly string[]>>[]
  readonly paths: Readonly<Record<string, { readonly [M in ApiMethod]?: ApiOperation }>>
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>
    readonly responses: Readonly<Record<string, Answer>>
    readonly securitySchemes: Readonly<Record<string, unknown>>
  }
}

/** Makes the document, for a version of visor. */
export function openApiDocument(version: string): OpenApi {
  const schemas = componentSchemas()
  const paths: Record<string, { [M in ApiMethod]?: ApiOperation }> = {}
  const add = (method: string, path: string, operation: ApiOperation) => {
    paths[path] = { ...paths[path], [method.toLowerCase()]: operation }
  }
  for (const route of routes) add(route.method, route.path, describe(route, schemas))
  for (const { method, path, operation } of extraOperations(schemas)) add(method, path, operation)
  const failed = problemAnswer(schemas)
  return {
    openapi: '3.1.0',
    info: { title: 'visor', version, description: guide },
    servers: [{ url: '/' }],
    tags,
    security: [{ token: [] }, { session: [] }],
    paths,
    components: {
      schemas: schemas.all(),
      responses: { Problem: failed },
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer' },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'visor_session',
          description: 'From POST /v1/session.',
        },
      },
    },
  }
}

function describe(route: Route, schemas: SchemaBook): ApiOperation {
  const { operation, name } = route
  const description = describeMore(route)
  const parameters = parametersOf(route, schemas)
  const body = bodyOf(route, schemas)
  return {
    operationId: name,
    summary: operation.doc,
    ...(description && { description }),
    tags: [name.split('.')[0] ?? ''],
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: body }),
    responses: { ...successOf(route, schemas), default: { $ref: '#/components/responses/Problem' } },
    'x-access': operation.access,
  }
}

function describeMore({ operation, name }: Route): string {
  const parts: string[] = []
  if (name === 'domains.openConsole')
    parts.push('A WebSocket: binary messages carry the bytes of the console in both directions.')
  if (operation.long)
    parts.push('Takes time: answers 202 with a job at once, unless `Prefer: wait=SECONDS` waits for its end.')
  else if (changes(operation) && operation.body !== 'content')
    parts.push('With `Prefer: respond-async` it answers 202 with a job at once.')
  if (name === 'volumes.download') parts.push(downloadText)
  if (operation.interrupts) parts.push('Cancels what is under way on the domain first.')
  return parts.join(' ')
}

function parametersOf(route: Route, schemas: SchemaBook): Parameter[] {
  const { operation, path, name } = route
  const parameters = pathParameters(path).map((name) => keyParameter(name))
  if (optionsInQuery(route)) parameters.push(...queryParameters(operation, schemas))
  if (isDefinition(operation))
    parameters.push(header('If-None-Match', 'Entity tag that the reader has; 304 when it is current.'))
  if (operation.body && operation.body !== 'content') parameters.push(...conditionParameters)
  if (operation.result === 'content') parameters.push(...downloadParameters)
  if (name === 'uploads.append') parameters.push(...appendParameters)
  if (isListRoute(route)) parameters.push(...listParameters(operation))
  if (changes(operation) && operation.body !== 'content')
    parameters.push(header('Prefer', '`respond-async` or `wait=SECONDS` (RFC 7240).'))
  return parameters
}

/** The parameter in a path. */
export function keyParameter(name: string): Parameter {
  const what = ['domain', 'network', 'nwfilter'].includes(name)
    ? `uuid or name of the ${name}`
    : name === 'job' || name === 'migration' || name === 'publication'
      ? `id of the ${name}`
      : `name of the ${name}`
  return { name, in: 'path', description: what, required: true, schema: { type: 'string' } }
}

/** A parameter in a header. */
export function header(name: string, description: string): Parameter {
  return { name, in: 'header', description, schema: { type: 'string' } }
}

/** The conditions of a change (RFC 9110, 13.1). */
export const conditionParameters: readonly Parameter[] = [
  header('If-Match', 'Only when the definition there has this entity tag; else 412.'),
  header('If-None-Match', '`*`: only when there is none; else 409.'),
]

function queryParameters({ options }: Operation, schemas: SchemaBook): Parameter[] {
  return Object.entries(fieldsOf(options)).map(([name, field]) => ({
    name,
    in: 'query',
    description: field.doc,
    required: !field.options.optional && field.options.default === undefined,
    schema: schemas.use(field, 'input'),
  }))
}

function listParameters({ result }: Operation): Parameter[] {
  const names = Object.keys(fieldsOf((result as s.ArraySchema).item))
  return [
    {
      name: 'fields',
      in: 'query',
      description: 'Only these fields of each, separated by commas.',
      schema: { type: 'array', items: { type: 'string', enum: names } },
    },
    {
      name: 'filter',
      in: 'query',
      description: 'Only those for which this holds, such as `state==running,name~web*`.',
      schema: { type: 'string' },
    },
  ]
}

function bodyOf(route: Route, schemas: SchemaBook): ApiOperation['requestBody'] {
  const { operation } = route
  if (operation.body === 'content') return contentBody
  if (operation.body) return definitionBody(operation, schemas)
  if (optionsInQuery(route) || !operation.options) return undefined
  const required = Object.values(fieldsOf(operation.options)).some(({ options }) => !options.optional)
  return { required, content: { 'application/json': { schema: schemas.use(operation.options, 'input') } } }
}

/** Whether it gives what some operation takes as its body. */
function isDefinition({ result }: Operation): boolean {
  return definitionHandlers.some(({ part }) => findOperation(`${part}.define`)?.body === result)
}

const isDocument = (body: Operation['body']): body is s.Schema => typeof body === 'object'

/** A definition in each of its notations. */
export function definitionBody({ body }: Operation, schemas: SchemaBook) {
  return { required: true, content: isDocument(body) ? definitionContent(body, schemas, 'input') : {} }
}

function definitionContent(definition: s.Schema, schemas: SchemaBook, variant: 'input' | 'output'): Content {
  const typed = { schema: schemas.use(definition, variant) }
  const content: Record<string, { schema: JsonSchema }> = {}
  for (const [format, [type]] of Object.entries(definitionTypes))
    content[type ?? ''] =
      format === 'xml' ? { schema: { type: 'string', description: "libvirt's XML" } } : typed
  return content
}

function successOf(route: Route, schemas: SchemaBook): Record<string, Answer> {
  const { operation } = route
  const job = { '202': jobAnswer(schemas) }
  if (operation.body === 'content') return resultAnswer(operation, schemas)
  if (operation.body) return { ...definedAnswers(operation, schemas), ...job }
  if (isDefinition(operation))
    return { '200': definitionAnswer(operation, schemas), '304': { description: 'Not changed.' } }
  const answer = resultAnswer(operation, schemas)
  return { ...answer, ...(changes(operation) && job) }
}

/** Of a change of a definition. */
export function definedAnswers({ result }: Operation, schemas: SchemaBook): Record<string, Answer> {
  const made = schemas.use(result as s.Schema)
  return { '200': json('Replaced.', made), '201': json('Made.', made) }
}

/** The definition with its entity tag. */
function definitionAnswer({ result }: Operation, schemas: SchemaBook): Answer {
  return {
    description: 'The definition.',
    headers: { ETag: { description: 'Names this version, for If-Match.', schema: { type: 'string' } } },
    content: definitionContent(result as s.Schema, schemas, 'output'),
  }
}

function resultAnswer({ result }: Operation, schemas: SchemaBook): Record<string, Answer> {
  switch (result) {
    case undefined:
      return { '204': { description: 'Done.' } }
    case 'stream':
      return { '101': { description: 'The WebSocket is open.' } }
    case 'text':
      return {
        '200': { description: 'The text.', content: { 'text/plain': { schema: { type: 'string' } } } },
      }
    case 'content':
      return contentAnswers
    case 'bytes':
      return { '200': { description: 'The bytes.', content: { 'application/octet-stream': { schema: {} } } } }
    case 'picture':
      return { '200': { description: 'The picture.', content: { 'image/png': { schema: {} } } } }
    default:
      return {
        '200': json(`${result.doc.charAt(0).toUpperCase()}${result.doc.slice(1)}.`, schemas.use(result)),
      }
  }
}

/** An answer in JSON. */
export function json(description: string, schema: JsonSchema): Answer {
  return { description, content: { 'application/json': { schema } } }
}

function jobAnswer(schemas: SchemaBook): Answer {
  return {
    ...json('Under way; the job tells the rest.', schemas.use(Job)),
    headers: { Location: { description: 'The job.', schema: { type: 'string' } } },
  }
}

function problemAnswer(schemas: SchemaBook): Answer {
  return {
    description: 'It failed; the problem says what, where and what to do (RFC 9457).',
    content: { [problemType]: { schema: schemas.use(Problem) } },
  }
}
