import {
  type Connection,
  type OperationName,
  operationList,
  supportedOperations,
} from '../../driver/index.ts'
import { schema as s } from '../../model/index.ts'
import type { Identity } from './call.ts'

/** What the server says of itself. */
export interface ServerInfo {
  /** Version of visor. */
  readonly version: string
  /** Per open driver, by scheme, what it can do. */
  readonly drivers?: Readonly<Record<string, readonly OperationName[]>>
}

const names = operationList.map(({ name }) => name)

/** Who is logged in. */
export const Login = s.object('Login', 'Who is logged in', {
  name: s.string('name'),
  access: s.choice('what it may do', ['read', 'write', 'admin']),
})

/** The body of GET /v1: what is served, and who asks. */
export const ApiDescription = s.object('ApiDescription', 'What is served here, and who asks', {
  version: s.string('version of visor'),
  uri: s.string('what the connection calls itself'),
  operations: s.array('what can be done here, for at least one kind of domain', s.choice('operation', names)),
  drivers: s.record('what each open driver can do', s.array('operations', s.choice('operation', names))),
  login: Login,
})
export type ApiDescription = s.Output<typeof ApiDescription>

export function describeApi(connection: Connection, info: ServerInfo, login: Identity): ApiDescription {
  const drivers = Object.entries(info.drivers ?? {}).map(([scheme, can]) => [scheme, [...can]])
  return {
    version: info.version,
    uri: connection.uri,
    operations: supportedOperations(connection),
    drivers: Object.fromEntries(drivers),
    login: { name: login.name, access: login.access },
  }
}
