/**
 * Definitions over HTTP: JSON, libvirt's XML or YAML as `Accept` and `Content-Type` say, with entity tags.
 *
 * A tag names the definition and its notation (RFC 9110, 8.8.3: strong tags differ between
 * representations): `"1f..."` for JSON, `"1f....xml"`, `"1f....yaml"`. Conditions look at the definition only.
 */
import { type DefineOptions, entityTag } from '../../driver/index.ts'
import {
  type DefinitionFormat,
  type Domain,
  type DomainDefinition,
  type DomainDefinitionInput,
  formatDefinition,
  parseDefinition,
  VisorError,
} from '../../model/index.ts'
import { routeOf } from '../routes.ts'
import { HttpRefusal, mediaType, readText, unsupportedMediaType } from './body.ts'
import type { Call } from './call.ts'
import { runChange } from './prefer.ts'
import { readQuery } from './query.ts'
import { json } from './reply.ts'

/** Media types of definitions, the one that is sent first. */
export const definitionTypes: Readonly<Record<DefinitionFormat, readonly string[]>> = {
  json: ['application/json'],
  xml: ['application/xml', 'text/xml'],
  yaml: ['application/yaml', 'application/x-yaml', 'text/yaml'],
}
const formats = Object.keys(definitionTypes) as DefinitionFormat[]
const sentTypes = formats.map((format) => definitionTypes[format][0] ?? '')
const uuidShape = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/iu

/** GET /v1/domains/{domain}/definition */
export async function getDefinition(call: Call): Promise<Response> {
  const { options } = readQuery(call.url, routeOf('domains.describe').operation.options)
  const definition = await call.connection.domains.describe(call.parameters.domain ?? '', options)
  const format = wantedFormat(call.request)
  const tag = etag(definition, format)
  const headers = { etag: tag, vary: 'Accept', 'content-type': contentType(format) }
  if (readTags(call.request.headers.get('if-none-match')).some((given) => given === '*' || given === tag))
    return new Response(null, { status: 304, headers: { etag: tag, vary: 'Accept' } })
  return new Response(formatDefinition(definition, format), { headers })
}

/** POST /v1/domains */
export async function defineDomain(call: Call): Promise<Response> {
  const definition = await readDefinition(call)
  return define(call, definition, await readConditions(call, definition.uuid ?? definition.name))
}

/** PUT /v1/domains/{domain}/definition */
export async function putDefinition(call: Call): Promise<Response> {
  const { domain = '' } = call.parameters
  const definition = await readDefinition(call)
  return define(call, await identified(call, domain, definition), await readConditions(call, domain))
}

async function define(
  call: Call,
  definition: DomainDefinitionInput,
  conditions: DefineOptions,
): Promise<Response> {
  readQuery(call.url, undefined)
  const before = await findDomain(call, definition.uuid ?? definition.name)
  const run = (more: object) => call.connection.domains.define(definition, { ...conditions, ...more })
  return runChange(call, false, run, (result) => {
    const domain = result as Domain
    return json(domain, { status: before ? 200 : 201, headers: { location: `/v1/domains/${domain.uuid}` } })
  })
}

/** The definition with the identity that the path says; fails when it says another itself. */
async function identified(
  call: Call,
  domain: string,
  definition: DomainDefinitionInput,
): Promise<DomainDefinitionInput> {
  const { uuid, name } = definition
  if (uuidShape.test(domain)) {
    if (uuid === undefined) return Object.assign(definition, { uuid: domain.toLowerCase() })
    if (uuid === domain.toLowerCase()) return definition
  } else if (uuid === undefined ? name === domain : (await findDomain(call, uuid))?.name === domain) {
    return definition
  } else if (name === domain && !(await findDomain(call, domain))) return definition
  throw new VisorError(
    'invalid-argument',
    `The definition is of '${name}'${uuid ? ` with uuid ${uuid}` : ''}, not of '${domain}'.`,
    { path: uuid === undefined ? 'name' : 'uuid', remedy: 'To rename a domain, address it by its uuid.' },
  )
}

async function findDomain(call: Call, domain: string): Promise<Domain | undefined> {
  try {
    return await call.connection.domains.get(domain)
  } catch (error) {
    if (error instanceof VisorError && error.code === 'not-found') return undefined
    throw error
  }
}

async function readDefinition(call: Call): Promise<DomainDefinitionInput> {
  const type = mediaType(call.request) ?? 'application/json'
  const format = formats.find((candidate) => definitionTypes[candidate].includes(type))
  if (!format) throw unsupportedMediaType(type, sentTypes)
  return parseDefinition(await readText(call.request, call.bodyLimitBytes), format)
}

/** The format that `Accept` likes best; JSON where it does not care. */
function wantedFormat(request: Request): DefinitionFormat {
  const accept = request.headers.get('accept') ?? '*/*'
  let best: { format: DefinitionFormat; quality: number } | undefined
  for (const range of accept.split(',').slice(0, 32)) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
    const quality = Number(parameters.find((part) => part.startsWith('q='))?.slice(2) ?? 1)
    const format = formats.find((candidate) => accepts(type, candidate))
    if (format && quality > 0 && quality > (best?.quality ?? 0)) best = { format, quality }
  }
  if (best) return best.format
  throw new HttpRefusal(
    406,
    new VisorError('invalid-argument', `A definition cannot be had as '${accept}'.`, {
      remedy: `There are: ${sentTypes.join(', ')}.`,
    }),
  )
}

function accepts(type: string, format: DefinitionFormat): boolean {
  if (type === '*/*' || type === 'application/*') return format === 'json'
  return type === 'text/*' ? format === 'xml' : definitionTypes[format].includes(type)
}

function contentType(format: DefinitionFormat): string {
  return `${definitionTypes[format][0]}; charset=utf-8`
}

function etag(definition: DomainDefinition, format: DefinitionFormat): string {
  return `"${entityTag(definition)}${format === 'json' ? '' : `.${format}`}"`
}

/** `*` or the entity tags of a condition, as they stand there. */
function readTags(header: string | null): string[] {
  if (header === null) return []
  if (header.trim() === '*') return ['*']
  return [...header.matchAll(/(?:W\/)?("[^"]*")/gu)].map(([, tag]) => tag ?? '')
}

async function readConditions(call: Call, domain: string): Promise<DefineOptions> {
  const { headers } = call.request
  const ifNoneMatch = headers.get('if-none-match')
  if (ifNoneMatch !== null && ifNoneMatch.trim() !== '*')
    throw new VisorError('invalid-argument', "For a change, If-None-Match can only be '*'.", {
      remedy: 'Use If-Match with the entity tag of the definition that was read.',
    })
  const tags = readTags(headers.get('if-match')).map((tag) => tag.replace(/^"|(\.(xml|yaml))?"$/gu, ''))
  if (headers.has('if-match') && tags.length === 0)
    throw new VisorError('invalid-argument', 'The entity tag in If-Match cannot be read.', {
      remedy: 'Send it as it came in ETag, with its quotes.',
    })
  const ifMatch = tags.length > 1 ? await currentOf(call, domain, tags) : tags[0]
  return { ...(ifMatch !== undefined && { ifMatch }), ...(ifNoneMatch !== null && { ifNoneMatch: '*' }) }
}

/** Of several tags, the one that the definition has; else the first, which then does not match. */
async function currentOf(call: Call, domain: string, tags: readonly string[]): Promise<string | undefined> {
  const definition = await call.connection.domains.describe(domain, { inactive: true })
  const current = entityTag(definition)
  return tags.includes(current) ? current : tags[0]
}
