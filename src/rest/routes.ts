/**
 * Where each operation lives in the HTTP API: both ends and the OpenAPI document are made from it. A new
 * operation needs no line here when the rule fits.
 *
 * The rule: `part.list` is GET /v1/part; `get`, `create` and `remove` are GET, POST and DELETE of
 * /v1/part/{key}; any other method is /v1/part/{key}/its-name, GET when it only reads and POST else. What belongs
 * to a domain or a pool is below it: /v1/domains/{domain}/part, and /v1/domains/{domain}/part/{item}.
 */
import { type Operation, type OperationName, operationList } from '../driver/index.ts'

export type HttpMethod = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE'

export interface Route {
  readonly name: OperationName
  readonly operation: Operation
  readonly method: HttpMethod
  /** With `{domain}`, `{snapshot}` and so on where the keys go. */
  readonly path: string
}

const exceptions: { readonly [N in OperationName]?: Partial<Pick<Route, 'method' | 'path'>> } = {
  'host.info': { path: '/v1/host' },
  'domains.describe': { path: '/v1/domains/{domain}/definition' },
  'domains.define': { path: '/v1/domains' },
  'networks.describe': { path: '/v1/networks/{network}/definition' },
  'networks.define': { path: '/v1/networks' },
  'networks.undefine': { method: 'DELETE', path: '/v1/networks/{network}' },
  'nwfilters.describe': { path: '/v1/nwfilters/{nwfilter}/definition' },
  'nwfilters.define': { path: '/v1/nwfilters' },
  'nwfilters.undefine': { method: 'DELETE', path: '/v1/nwfilters/{nwfilter}' },
  'pools.describe': { path: '/v1/pools/{pool}/definition' },
  'pools.define': { path: '/v1/pools' },
  'pools.undefine': { method: 'DELETE', path: '/v1/pools/{pool}' },
  'pools.delete': { method: 'POST', path: '/v1/pools/{pool}/delete' },
  'volumes.describe': { path: '/v1/pools/{pool}/volumes/{volume}/definition' },
  'volumes.find': { path: '/v1/volumes' },
  'volumes.download': { method: 'GET', path: '/v1/pools/{pool}/volumes/{volume}/content' },
  'images.export': { method: 'GET', path: '/v1/images/{image}/content' },
  'volumes.write': { method: 'PATCH', path: '/v1/pools/{pool}/volumes/{volume}/content' },
  'uploads.append': { method: 'PATCH', path: '/v1/pools/{pool}/uploads/{upload}' },
  'schedules.define': { path: '/v1/schedules' },
  'secrets.describe': { path: '/v1/secrets/{secret}/definition' },
  'secrets.define': { path: '/v1/secrets' },
  'secrets.undefine': { method: 'DELETE', path: '/v1/secrets/{secret}' },
  'domains.undefine': { method: 'DELETE', path: '/v1/domains/{domain}' },
  'domains.stats': { path: '/v1/domain-stats' },
  'domains.openConsole': { method: 'GET', path: '/v1/domains/{domain}/console' },
}

/** Nouns that others belong to. */
const owners = ['domain', 'pool'] as const

/** What is done to the object itself, and needs no name of its own in the path. */
const plain = ['list', 'get', 'create', 'remove']

export const routes: readonly Route[] = operationList.map(({ name, part, method, operation }) => ({
  name,
  operation,
  method: operation.access === 'read' ? 'GET' : method === 'remove' ? 'DELETE' : 'POST',
  path: rulePath(part, method, operation),
  ...exceptions[name],
}))

function rulePath(part: string, method: string, { key, item }: Operation): string {
  const owner = owners.find((noun) => noun === key && part !== `${noun}s`)
  const whole = owner && `/v1/${owner}s/{${owner}}/${kebabCase(part)}`
  const base = whole
    ? item
      ? `${whole}/{${item}}`
      : whole
    : key
      ? `/v1/${kebabCase(part)}/{${key}}`
      : `/v1/${kebabCase(part)}`
  return plain.includes(method) ? base : `${base}/${kebabCase(method)}`
}

function kebabCase(text: string): string {
  return text.replace(/[A-Z]/gu, (letter) => `-${letter.toLowerCase()}`)
}

const byName = new Map(routes.map((route) => [route.name, route]))

/** The route of an operation. */
export function routeOf(name: OperationName): Route {
  const route = byName.get(name)
  if (!route) throw new TypeError(`no route for ${name}`)
  return route
}

/** The names of the parameters in a path: `domain` of `/v1/domains/{domain}`. */
export function pathParameters(path: string): string[] {
  return [...path.matchAll(/\{(\w+)\}/gu)].map(([, name]) => name ?? '')
}

/** Whether the options travel in the query string; else they are a JSON body. */
export function optionsInQuery(route: Route): boolean {
  return route.method === 'GET' || route.method === 'DELETE' || route.operation.body === 'content'
}

/** Whether the operation changes something, and so has a job. */
export function changes(operation: Operation): boolean {
  const { access, key, result } = operation
  return access !== 'read' && key !== 'job' && result !== 'stream' && result !== 'content'
}
