/** One handler for every operation of the table: the request's parts in, its result out. */
import { type CompleteConnection, findMethod, type VolumeContent } from '../../driver/index.ts'
import { parse, type schema as s, VisorError } from '../../model/index.ts'
import { changes, optionsInQuery, pathParameters, type Route } from '../routes.ts'
import { HttpRefusal, readJsonObject } from './body.ts'
import type { Call, Handler } from './call.ts'
import { readContent, sendContent } from './content.ts'
import { readShape, shapeList, shapeParameters } from './list-shape.ts'
import { runChange } from './prefer.ts'
import { readQuery } from './query.ts'
import { bytes, json, noContent } from './reply.ts'

/** The handler of a route whose options are query or JSON body, and whose result is a document. */
export function operate(route: Route): Handler {
  const { operation, name } = route
  if (operation.result === 'stream') return async () => Promise.reject(upgradeRequired())
  const isList = isListRoute(route)
  if (operation.body === 'content' || operation.result === 'content') return operateContent(route)
  return async (call) => {
    const { options, shape } = await readOptions(call, route, isList)
    const keys = pathParameters(route.path).map((parameter) => call.parameters[parameter] ?? '')
    const run = (more: object) => invoke(call.connection, name, [...keys, { ...options, ...more }])
    if (changes(operation))
      return runChange(call, operation.long === true, run, (result) => reply(route, result))
    const result = await run({ signal: call.request.signal })
    return reply(route, isList ? shapeList(result as unknown[], shape) : result)
  }
}

/** As {@link operate}, where bytes of a volume come or go. */
function operateContent(route: Route): Handler {
  return async (call) => {
    const { options } = await readOptions(call, route, false)
    const keys = pathParameters(route.path).map((parameter) => call.parameters[parameter] ?? '')
    const run = (...args: unknown[]) => invoke(call.connection, route.name, [...keys, ...args])
    if (route.operation.body === 'content') return reply(route, await run(readContent(call), options))
    return sendContent(call, async (wanted) => (await run(wanted)) as VolumeContent, options)
  }
}

/** Whether the result is a list, for which `fields` and `filter` are there. */
export function isListRoute({ operation }: Route): boolean {
  return typeof operation.result === 'object' && operation.result.kind === 'array'
}

async function readOptions(call: Call, route: Route, isList: boolean) {
  const { operation } = route
  const inQuery = optionsInQuery(route)
  const query = readQuery(call.url, inQuery ? operation.options : undefined, isList ? shapeParameters : [])
  const options = inQuery ? query.options : await readJsonObject(call.request, call.bodyLimitBytes)
  const shape = isList ? readShape(query.extra, (operation.result as s.ArraySchema).item) : undefined
  return { options: checkOptions(operation.options, options, route), shape }
}

function checkOptions(
  schema: s.Schema | undefined,
  options: Record<string, unknown>,
  { name }: Route,
): object {
  if (schema) return parse(schema, options, { code: 'invalid-argument' }) as object
  const [first] = Object.keys(options)
  if (first === undefined) return {}
  throw new VisorError('invalid-argument', `${name} takes no options, so no '${first}' either.`, {
    path: first,
  })
}

/** Calls an operation by name. */
export async function invoke(
  connection: CompleteConnection,
  name: Route['name'],
  args: readonly unknown[],
): Promise<unknown> {
  const [part] = name.split('.') as ['domains']
  const method = findMethod(connection, name)
  return method?.apply(connection[part], args as never[])
}

function reply({ operation, name }: Route, result: unknown): Response {
  switch (operation.result) {
    case undefined:
      return noContent()
    case 'text':
      return new Response(String(result), { headers: { 'content-type': 'text/plain; charset=utf-8' } })
    case 'bytes':
      return bytes(result as Uint8Array, 'application/octet-stream')
    case 'picture': {
      const picture = result as { mediaType: string; bytes: Uint8Array }
      return bytes(picture.bytes, picture.mediaType)
    }
    case 'content':
    case 'stream':
      throw new TypeError(`${name} has no plain answer`)
    default:
      return json(result)
  }
}

function upgradeRequired(): HttpRefusal {
  return new HttpRefusal(
    426,
    new VisorError('invalid-argument', 'A console is a WebSocket; this request does not ask for one.', {
      remedy: "Open it with a WebSocket client, or use 'visor console'.",
    }),
    { upgrade: 'websocket', connection: 'upgrade' },
  )
}
