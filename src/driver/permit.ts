import { VisorError } from '../model/index.ts'
import type { Connection } from './connection.ts'
import type { Access } from './operation.ts'
import { buildConnection, type CompleteConnection, findMethod, supports } from './supports.ts'

const rank: Record<Access, number> = { read: 0, write: 1, admin: 2 }
const made = new WeakMap<Connection, Map<Access, CompleteConnection>>()

/**
 * The same connection for somebody with this access: what needs more fails with `denied`. The only access
 * check there is. Cheap: made once per connection and access.
 */
export function permit(connection: Connection, access: Access): CompleteConnection {
  const views = made.get(connection) ?? new Map<Access, CompleteConnection>()
  made.set(connection, views)
  const view = views.get(access) ?? restrict(connection, access)
  views.set(access, view)
  return view
}

function restrict(connection: Connection, access: Access): CompleteConnection {
  const { uri } = connection
  return buildConnection(
    { uri, events: (options) => connection.events(options), close: () => connection.close() },
    ({ name, part, operation }) => {
      if (!supports(connection, name)) return undefined
      const method = findMethod(connection, name)
      if (rank[operation.access] <= rank[access]) return (...args) => method?.apply(connection[part], args)
      return async () => {
        throw new VisorError(
          'denied',
          `${name} needs ${operation.access} access; this login has ${access}.`,
          {
            remedy: `Log in with a token that has ${operation.access} access.`,
          },
        )
      }
    },
  )
}
