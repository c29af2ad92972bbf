/**
 * Definitions over HTTP: JSON, libvirt's XML or YAML as `Accept` and `Content-Type` say, with entity tags.
 *
 * A tag names the definition and its notation (RFC 9110, 8.8.3: strong tags differ between
 * representations): `"1f..."` for JSON, `"1f....xml"`, `"1f....yaml"`. Conditions look at the definition only.
 */
import { type CompleteConnection, type DefineOptions, entityTag } from '../../driver/index.ts'
import {
  type DefinitionFormat,
  type Domain,
  type DomainDefinition,
  type DomainDefinitionInput,
  formatDefinition,
  formatNetworkDefinition,
  formatNwfilterDefinition,
  formatPoolDefinition,
  type Network,
  type NetworkDefinition,
  type NetworkDefinitionInput,
  type Nwfilter,
  type NwfilterDefinition,
  type NwfilterDefinitionInput,
  type PoolDefinition,
  type PoolDefinitionInput,
  parseDefinition,
  parseNetworkDefinition,
  parseNwfilterDefinition,
  parsePoolDefinition,
  VisorError,
} from '../../model/index.ts'
import { routeOf } from '../routes.ts'
import { HttpRefusal, mediaType, readText, unsupportedMediaType } from './body.ts'
import type { Call, Handler } from './call.ts'
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

type DefinedNoun = 'domain' | 'network' | 'nwfilter' | 'pool'

/** A noun that is defined by a document. */
interface Noun<Input extends { name: string; uuid?: string | undefined }, Complete> {
  readonly noun: DefinedNoun
  readonly part: `${DefinedNoun}s`
  parse(text: string, format: DefinitionFormat): Input
  format(definition: Complete, format: DefinitionFormat): string
  get(connection: CompleteConnection, key: string): Promise<{ readonly uuid: string; readonly name: string }>
  describe(connection: CompleteConnection, key: string, options: object): Promise<Complete>
  define(connection: CompleteConnection, definition: Input, options: object): Promise<unknown>
}

const domains: Noun<DomainDefinitionInput, DomainDefinition> = {
  noun: 'domain',
  part: 'domains',
  parse: parseDefinition,
  format: formatDefinition,
  get: (connection, key) => connection.domains.get(key),
  describe: (connection, key, options) => connection.domains.describe(key, options),
  define: (connection, definition, options) => connection.domains.define(definition, options),
}

const networks: Noun<NetworkDefinitionInput, NetworkDefinition> = {
  noun: 'network',
  part: 'networks',
  parse: parseNetworkDefinition,
  format: formatNetworkDefinition,
  get: (connection, key) => connection.networks.get(key),
  describe: (connection, key, options) => connection.networks.describe(key, options),
  define: (connection, definition, options) => connection.networks.define(definition, options),
}

const nwfilters: Noun<NwfilterDefinitionInput, NwfilterDefinition> = {
  noun: 'nwfilter',
  part: 'nwfilters',
  parse: parseNwfilterDefinition,
  format: formatNwfilterDefinition,
  get: (connection, key) => connection.nwfilters.get(key),
  describe: (connection, key, options) => connection.nwfilters.describe(key, options),
  define: (connection, definition, options) => connection.nwfilters.define(definition, options),
}

const pools: Noun<PoolDefinitionInput, PoolDefinition> = {
  noun: 'pool',
  part: 'pools',
  parse: parsePoolDefinition,
  format: formatPoolDefinition,
  get: (connection, key) => connection.pools.get(key),
  describe: (connection, key, options) => connection.pools.describe(key, options),
  define: (connection, definition, options) => connection.pools.define(definition, options),
}

/** What is served of the definitions of a noun. */
export interface DefinitionHandlers {
  readonly part: `${DefinedNoun}s`
  /** `domain` in `/v1/domains/{domain}/definition`. */
  readonly noun: DefinedNoun
  /** GET of the definition. */
  readonly get: Handler
  /** POST to the list. */
  readonly define: Handler
  /** PUT of the definition. */
  readonly put: Handler
}

export const definitionHandlers: readonly DefinitionHandlers[] = [
  handlers(domains),
  handlers(networks),
  handlers(nwfilters),
  handlers(pools),
]

function handlers<Input extends { name: string; uuid?: string | undefined }, Complete>(
  noun: Noun<Input, Complete>,
): DefinitionHandlers {
  const keyOf = (call: Call) => call.parameters[noun.noun] ?? ''

  async function find(call: Call, key: string) {
    try {
      return await noun.get(call.connection, key)
    } catch (error) {
      if (error instanceof VisorError && error.code === 'not-found') return undefined
      throw error
    }
  }

  async function read(call: Call): Promise<Input> {
    const type = mediaType(call.request) ?? 'application/json'
    const format = formats.find((candidate) => definitionTypes[candidate].includes(type))
    if (!format) throw unsupportedMediaType(type, sentTypes)
    return noun.parse(await readText(call.request, call.bodyLimitBytes), format)
  }

  async function define(call: Call, definition: Input, conditions: DefineOptions): Promise<Response> {
    readQuery(call.url, undefined)
    const before = await find(call, definition.uuid ?? definition.name)
    const run = (more: object) => noun.define(call.connection, definition, { ...conditions, ...more })
    return runChange(call, false, run, (result) => {
      const made = result as Domain | Network | Nwfilter
      const location = `/v1/${noun.part}/${made.uuid}`
      return json(made, { status: before ? 200 : 201, headers: { location } })
    })
  }

  /** The definition with the identity that the path says; fails when it says another itself. */
  async function identified(call: Call, key: string, definition: Input): Promise<Input> {
    const { uuid, name } = definition
    if (uuidShape.test(key)) {
      if (uuid === undefined) return Object.assign(definition, { uuid: key.toLowerCase() })
      if (uuid === key.toLowerCase()) return definition
    } else if (uuid === undefined ? name === key : (await find(call, uuid))?.name === key) {
      return definition
    } else if (name === key && !(await find(call, key))) return definition
    throw new VisorError(
      'invalid-argument',
      `The definition is of '${name}'${uuid ? ` with uuid ${uuid}` : ''}, not of '${key}'.`,
      {
        path: uuid === undefined ? 'name' : 'uuid',
        remedy: `To rename a ${noun.noun}, address it by its uuid.`,
      },
    )
  }

  const current = (call: Call, key: string) => noun.describe(call.connection, key, { inactive: true })

  return {
    part: noun.part,
    noun: noun.noun,
    async get(call) {
      const { options } = readQuery(call.url, routeOf(`${noun.part}.describe`).operation.options)
      const definition = await noun.describe(call.connection, keyOf(call), options)
      const format = wantedFormat(call.request)
      const tag = etag(definition, format)
      const headers = { etag: tag, vary: 'Accept', 'content-type': contentType(format) }
      if (readTags(call.request.headers.get('if-none-match')).some((given) => given === '*' || given === tag))
        return new Response(null, { status: 304, headers: { etag: tag, vary: 'Accept' } })
      return new Response(noun.format(definition, format), { headers })
    },
    async define(call) {
      const definition = await read(call)
      const key = definition.uuid ?? definition.name
      return define(call, definition, await readConditions(call, () => current(call, key)))
    },
    async put(call) {
      const key = keyOf(call)
      const definition = await identified(call, key, await read(call))
      return define(call, definition, await readConditions(call, () => current(call, key)))
    },
  }
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

function etag(definition: unknown, format: DefinitionFormat): string {
  return `"${entityTag(definition)}${format === 'json' ? '' : `.${format}`}"`
}

/** `*` or the entity tags of a condition, as they stand there. */
function readTags(header: string | null): string[] {
  if (header === null) return []
  if (header.trim() === '*') return ['*']
  return [...header.matchAll(/(?:W\/)?("[^"]*")/gu)].map(([, tag]) => tag ?? '')
}

async function readConditions(call: Call, current: () => Promise<unknown>): Promise<DefineOptions> {
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
  const ifMatch = tags.length > 1 ? await currentOf(current, tags) : tags[0]
  return { ...(ifMatch !== undefined && { ifMatch }), ...(ifNoneMatch !== null && { ifNoneMatch: '*' }) }
}

/** Of several tags, the one that the definition has; else the first, which then does not match. */
async function currentOf(
  describe: () => Promise<unknown>,
  tags: readonly string[],
): Promise<string | undefined> {
  const current = entityTag(await describe())
  return tags.includes(current) ? current : tags[0]
}
