import {
  type Domain,
  type Event,
  type Job,
  notFound,
  parse,
  toVisorError,
  VisorError,
} from '../model/index.ts'
import type { CallOptions, Connection, DefineOptions } from './connection.ts'
import { type Definable, type Definition, definable } from './definable.ts'
import { entityTag } from './entity-tag.ts'
import { type EventHub, eventHub } from './event-hub.ts'
import { type JobBook, jobBook } from './job.ts'
import { type Log, silentLog } from './log.ts'
import type { Operation } from './operation.ts'
import { findOperation, type OperationName, operations } from './operations.ts'
import { buildConnection, type CompleteConnection, findMethod, supports } from './supports.ts'

export interface GuardOptions {
  readonly log?: Log
  /** How long a call waits for another one on the same domain; 30 s without it. */
  readonly patienceMs?: number
}

/** A guarded connection; `jobBook` lets its owner wait for what is under way. */
export interface GuardedConnection extends CompleteConnection {
  readonly jobBook: JobBook
}

const uuidShape = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/iu
/** Progress is told at most this often, per job. */
const progressIntervalMs = 200

/**
 * What stands between users and a driver, once, so that no driver repeats it: domains may be named by name,
 * what is missing fails with `unsupported`, state-changing calls on one domain run one at a time as jobs that
 * can be watched and cancelled, `ifMatch` is checked within them, and events are numbered and can be replayed.
 */
export function guard(
  inner: Connection,
  { log = silentLog, patienceMs }: GuardOptions = {},
): GuardedConnection {
  const hub = eventHub()
  const book = jobBook(jobEvents(hub), patienceMs === undefined ? {} : { patienceMs })
  const closing = new AbortController()
  void pump(inner, hub, closing.signal, log)

  const connection = buildConnection(
    {
      uri: inner.uri,
      events: (options) => hub.listen(options),
      async close() {
        closing.abort()
        hub.close()
        await inner.close()
      },
    },
    ({ name, part, method, operation }) => {
      if (part === 'jobs') return book[method as keyof typeof book.cancel] as never
      const defines = definable.find((one) => one.name === name)
      if (defines && supports(inner, name)) return (...args) => define(defines, ...(args as [never]))
      if (name === 'domains.stats' && inner.domains.stats) return (options) => stats(options)
      if (!supports(inner, name)) return undefined
      return (...args) => call(name, operation, args)
    },
  )

  async function resolve(domain: string): Promise<string> {
    const [uuid] = await resolveAll([domain])
    return uuid as string
  }

  /** The uuids of domains named by uuid or name, all names looked up at once. */
  async function resolveAll(named: readonly string[]): Promise<string[]> {
    if (named.some((domain) => typeof domain !== 'string' || domain === ''))
      throw new VisorError('invalid-argument', 'A domain is named by its uuid or its name.')
    const names = named.filter((domain) => !uuidShape.test(domain))
    const found = names.length > 0 ? await inner.domains.list({ names }) : []
    const byName = Map.groupBy(found, ({ name }) => name)
    return named.map((domain) =>
      uuidShape.test(domain) ? domain.toLowerCase() : onlyOne(domain, byName.get(domain)),
    )
  }

  async function call(name: OperationName, operation: Operation, args: readonly unknown[]): Promise<unknown> {
    const keys = [operation.key, operation.item].filter((key) => key !== undefined)
    const given = args.slice(0, keys.length) as string[]
    if (operation.key === 'domain') given[0] = await resolve(given[0] as string)
    const [part] = name.split('.') as ['domains']
    const method = findMethod(inner, name) as (...args: unknown[]) => Promise<unknown>
    const content = operation.body === 'content' ? [args[keys.length]] : []
    const { own, running } = checkOptions(operation, args[keys.length + content.length])
    const { refersTo } = operation
    const referred = refersTo === undefined ? undefined : optionOf(own, refersTo)
    const named: Record<string, string> =
      refersTo === undefined || referred === undefined ? {} : { [refersTo]: await resolve(referred) }
    const invoke = (options: object) =>
      method.call(inner[part], ...given, ...content, { ...options, ...named })
    const isOpened = operation.result === 'stream' || operation.result === 'content'
    if (operation.access === 'read' || isOpened) return invoke({ ...own, ...running })
    const { interrupts, parallel } = operation
    const lane = parallel ? crypto.randomUUID() : operation.lane
    // What is made of a domain is a job of that domain.
    const target = Object.values(named)[0] ?? given[0] ?? name
    const request = { operation: name, target, interrupts, lane, ...running }
    return book.run(request, (job) => invoke({ ...own, ...job }))
  }

  async function stats(given: { readonly domains?: readonly string[] } | undefined) {
    const { domains } = checkOptions(operations.domains.stats, given).own as { domains?: readonly string[] }
    const uuids = domains && (await resolveAll(domains))
    return inner.domains.stats?.(uuids && { domains: uuids }) ?? []
  }

  async function define(noun: Definable, given: never, givenOptions?: DefineOptions) {
    const definition = noun.check(given)
    const { own, running } = checkOptions(findOperation(noun.name) as Operation, givenOptions)
    const before = await noun.find(inner, definition)
    const target = definition.uuid ?? before?.uuid ?? `name:${definition.name}`
    return book.run({ operation: noun.name, target, ...running }, async (job) => {
      const there = await noun.find(inner, definition)
      checkConditions(noun.noun, definition.name, there, own)
      if (there?.uuid) definition.uuid = there.uuid
      return noun.define(inner, definition, job)
    })
  }

  return { ...connection, jobBook: book }
}

const optionOf = (options: object, name: string): string | undefined =>
  (options as Record<string, string>)[name]

function onlyOne(name: string, found: readonly Domain[] = []): string {
  const [domain, another] = found
  if (!domain) throw notFound('domain', name)
  if (another)
    throw new VisorError('invalid-argument', `There are ${found.length} domains '${name}'.`, {
      remedy: `Name it by its uuid: ${found.map(({ uuid, driver }) => `${uuid} (${driver})`).join(', ')}.`,
    })
  return domain.uuid
}

function checkConditions(
  noun: string,
  name: string,
  there: Definition | undefined,
  options: DefineOptions,
): void {
  const { ifMatch, ifNoneMatch } = options
  if (ifNoneMatch !== undefined && there)
    throw new VisorError(
      'already-exists',
      `There is already a ${noun} '${there.name}', with uuid ${there.uuid}.`,
      {
        remedy: 'Choose another name, or edit that one.',
        object: { kind: noun, name: there.name },
      },
    )
  if (ifMatch === undefined) return
  if (!there) throw notFound(noun, name)
  if (ifMatch !== '*' && ifMatch !== entityTag(there))
    throw new VisorError('conflict', `The definition of '${name}' was changed since it was read.`, {
      remedy: 'Read it again, and make the change on what is there now.',
      object: { kind: noun, name },
    })
}

/** The options of a call, checked: those of the operation's own, and those that every call takes. */
function checkOptions(operation: Operation, given: unknown): { own: DefineOptions; running: CallOptions } {
  const { signal, progress, onJob, ...rest } = (given ?? {}) as CallOptions & Record<string, unknown>
  const own = operation.options ? parse(operation.options, rest, { code: 'invalid-argument' }) : {}
  return { own: own as DefineOptions, running: { signal, progress, onJob } }
}

async function pump(inner: Connection, hub: EventHub, signal: AbortSignal, log: Log): Promise<void> {
  try {
    for await (const event of inner.events({ signal })) hub.emit(event)
  } catch (error) {
    if (signal.aborted) return
    log.error({ error: toVisorError(error).toJSON() }, 'The events of the hypervisor ended.')
    hub.emit({ kind: 'daemon', type: 'events-lost', message: toVisorError(error).message })
  }
}

function jobEvents(hub: EventHub): (job: Job) => void {
  const told = new Map<string, number>()
  return (job) => {
    const ended = job.endedAt !== undefined
    const isProgress = !ended && told.has(job.id)
    if (isProgress && performance.now() - (told.get(job.id) ?? 0) < progressIntervalMs) return
    if (ended) told.delete(job.id)
    else told.set(job.id, performance.now())
    const type = ended ? job.state : isProgress ? 'progress' : 'started'
    const event: Omit<Event, 'id' | 'time'> = {
      kind: 'job',
      type,
      uuid: job.id,
      name: job.operation,
      data: job,
    }
    hub.emit(event)
  }
}
