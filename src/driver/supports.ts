import { VisorError } from '../model/index.ts'
import type { Connection } from './connection.ts'
import { type OperationName, operationList, type PartName } from './operations.ts'

/**
 * A connection with every part and method there: what the driver lacks fails with `unsupported`. What users
 * hold, so that a call is never skipped in silence.
 */
export type CompleteConnection = {
  readonly [P in PartName]: Required<NonNullable<Connection[P]>>
} & Omit<Connection, PartName>

const refusals = new WeakSet<object>()

/** Whether this connection can ever do it. */
export function supports(connection: Connection, name: OperationName): boolean {
  const method = findMethod(connection, name)
  return method !== undefined && !refusals.has(method)
}

/** The operations this connection can do, in the order of the table. */
export function supportedOperations(connection: Connection): OperationName[] {
  return operationList.map(({ name }) => name).filter((name) => supports(connection, name))
}

/** The error for what a driver cannot ever do. */
export function unsupported(name: OperationName, who: string): VisorError {
  return new VisorError('unsupported', `${who} does not support ${name}.`, {
    remedy: 'docs/support.md lists what each driver can do.',
  })
}

/** The method behind a name, bound to its part; undefined when it is absent. */
export function findMethod(
  connection: Connection,
  name: OperationName,
): ((...args: never[]) => unknown) | undefined {
  const [part, method] = name.split('.') as [PartName, string]
  const methods = connection[part] as Record<string, unknown> | undefined
  const found = methods?.[method]
  return typeof found === 'function' ? (found as (...args: never[]) => unknown) : undefined
}

/** Builds a connection method by method: `make` gives each, or undefined for one that is not there. */
export function buildConnection(
  rest: Omit<Connection, PartName>,
  make: (entry: (typeof operationList)[number]) => ((...args: never[]) => unknown) | undefined,
): CompleteConnection {
  const parts: Record<string, Record<string, unknown>> = {}
  for (const entry of operationList) {
    const part = parts[entry.part] ?? {}
    part[entry.method] = make(entry) ?? refuse(entry.name, `'${rest.uri}'`)
    parts[entry.part] = part
  }
  return { ...parts, ...rest } as unknown as CompleteConnection
}

/** Fills in what a connection lacks with methods that fail with `unsupported`. */
export function complete(connection: Connection): CompleteConnection {
  const { uri } = connection
  return buildConnection(
    { uri, events: (options) => connection.events(options), close: () => connection.close() },
    ({ name, part }) => {
      const method = findMethod(connection, name)
      if (!method || refusals.has(method)) return undefined
      return (...args) => method.apply(connection[part], args)
    },
  )
}

function refuse(name: OperationName, who: string) {
  const method = async () => {
    throw unsupported(name, who)
  }
  refusals.add(method)
  return method
}
