/** A test driver behind the HTTP API, on a socket of its own. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectOptions, connect } from '../../src/connect/index.ts'
import { serveHttp } from '../../src/daemon/http.ts'
import {
  type CompleteConnection,
  combine,
  type GuardedConnection,
  guard,
  memoryStore,
  silentLog,
  supportedOperations,
} from '../../src/driver/index.ts'
import { driver, faultsOf, type TestFaults } from '../../src/drivers/test/index.ts'
import { readHostInfo } from '../../src/host/index.ts'
import { type Identity, type RestApp, type RestOptions, restApp } from '../../src/rest/index.ts'

/** Tokens and what they permit. */
export const tokens: Readonly<Record<string, Identity['access']>> = {
  'token-of-an-admin': 'admin',
  'token-of-a-writer': 'write',
  'token-of-a-reader': 'read',
}
export const admin = { authorization: 'Bearer token-of-an-admin' }

export interface Api {
  readonly app: RestApp
  readonly connection: GuardedConnection
  readonly faults: TestFaults
  close(): Promise<void>
}

/** The API of a test driver, without a socket. */
export async function openApi(uri = 'test:///default', options: Partial<RestOptions> = {}): Promise<Api> {
  const places = { stateDirectory: '/nonexistent', runtimeDirectory: '/nonexistent' }
  const inner = await driver.open(new URL(uri), { ...places, store: memoryStore(), log: silentLog })
  const member = { scheme: 'test', domainTypes: ['test'], connection: inner }
  const info = async () => readHostInfo('0.0.0')
  const connection = guard(combine([member], { uri: 'visor:///test', info }))
  const app = restApp({
    connection,
    authenticate: (request, { transport }) => {
      if (transport === 'unix') return { name: 'root', access: 'admin' }
      const access = tokens[request.headers.get('authorization')?.replace('Bearer ', '') ?? '']
      return access && { name: access, access }
    },
    info: { version: '0.0.0', drivers: { test: supportedOperations(inner) } },
    ...options,
  })
  return {
    app,
    connection,
    faults: faultsOf(inner),
    async close() {
      app.close()
      await connection.close()
    },
  }
}

export interface Served extends Api {
  /** `http://127.0.0.1:PORT` or `unix:///...`. */
  readonly address: string
  connect(options?: ConnectOptions): Promise<CompleteConnection>
  /** Ends the server and every connection to it, and starts it again on the same address. */
  restart(meanwhile?: () => Promise<void>): Promise<void>
}

/** The API of a test driver on a unix socket or on loopback TCP. */
export async function serveApi(
  transport: 'unix' | 'tcp',
  uri?: string,
  options: Partial<RestOptions> = {},
): Promise<Served> {
  const directory = await mkdtemp(join(tmpdir(), 'visor-rest-'))
  const api = await openApi(uri, { heartbeatMs: 1_000, ...options })
  const socketPath = join(directory, 'a socket: with signs.sock')
  let listening = await listen(api.app, transport, socketPath)
  const port = transport === 'tcp' ? (listening.server.address() as AddressInfo).port : 0
  const address = transport === 'tcp' ? `http://127.0.0.1:${port}` : `unix://${encodeURI(socketPath)}`
  return {
    ...api,
    address,
    connect: (connectOptions) => connect(address, { token: 'token-of-an-admin', ...connectOptions }),
    async restart(meanwhile = async () => {}) {
      await listening.close()
      await meanwhile()
      listening = await listen(api.app, transport, socketPath, port)
    },
    async close() {
      await api.close()
      await listening.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

async function listen(app: RestApp, transport: 'unix' | 'tcp', socketPath: string, port = 0) {
  const server: Server = createServer()
  const front = serveHttp(server, { app, transport, secure: false, log: silentLog })
  server.listen(transport === 'unix' ? { path: socketPath } : { host: '127.0.0.1', port })
  await once(server, 'listening')
  return {
    server,
    async close() {
      server.closeAllConnections()
      await front.close(0)
      await rm(socketPath, { force: true })
    },
  }
}
