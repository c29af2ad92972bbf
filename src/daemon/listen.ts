/** The two ways in: a unix socket, and TCP with a token. */
import { once } from 'node:events'
import { chmodSync, chownSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect } from 'node:net'
import { checkSocketPath } from '../host/index.ts'
import { VisorError } from '../model/index.ts'
import type { Config } from './config.ts'
import type { TcpAddress } from './settings.ts'

/** Bounds for those who connect and then say nothing, or too much. */
const limits: ServerOptions = {
  headersTimeout: 15_000,
  // Uploads take hours: `stalled.ts` ends those that do not move.
  requestTimeout: 0,
  keepAliveTimeout: 60_000,
  connectionsCheckingInterval: 10_000,
  maxHeaderSize: 16_384,
}

/**
 * Serves on a unix socket that its owner and `group` may use. A socket left by a visord that was killed is
 * replaced; one that answers fails with `busy`.
 */
export async function listenUnix(path: string, { socketGroup, connectionLimit }: Config): Promise<Server> {
  const group = socketGroup === undefined ? undefined : findGroup(socketGroup)
  checkSocketPath(path)
  if (await answers(path))
    throw new VisorError('busy', `Another visord serves on '${path}' already.`, {
      remedy: 'Stop it, or choose another runtime directory (--runtime-dir).',
    })
  rmSync(path, { force: true })
  const server = createServer(limits)
  server.maxConnections = connectionLimit
  // Nobody else may connect before the permissions are as they shall be.
  const before = process.umask(0o177)
  try {
    server.listen(path)
  } finally {
    process.umask(before)
  }
  await listening(server, path)
  if (group !== undefined) chownSync(path, -1, group)
  chmodSync(path, 0o660)
  return server
}

/** Serves TCP, with TLS when the configuration has it. A port in use is `busy`, or another when none was asked. */
export async function listenTcp(address: TcpAddress, config: Config): Promise<Server> {
  const server = createTcpServer(config)
  server.maxConnections = config.connectionLimit
  try {
    server.listen({ host: address.host, port: address.port })
    await listening(server, `${address.host}:${address.port}`)
  } catch (error) {
    if (address.asked || !(error instanceof VisorError) || error.code !== 'busy') throw error
    return listenTcp({ ...address, port: 0, asked: true }, config)
  }
  return server
}

/** The address of a listening server as a URL. */
export function urlOf(server: Server, { tls }: Config): string {
  const { address, port, family } = server.address() as AddressInfo
  const wildcard = address === '::' || address === '0.0.0.0'
  const host = wildcard ? 'localhost' : family === 'IPv6' ? `[${address}]` : address
  return `${tls ? 'https' : 'http'}://${host}:${port}`
}

function createTcpServer({ tls }: Config): Server {
  if (!tls) return createServer(limits)
  try {
    const [cert, key] = [readFileSync(tls.certificate), readFileSync(tls.key)]
    return createTlsServer({ ...limits, cert, key, minVersion: 'TLSv1.2' })
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new VisorError('invalid-argument', `The certificate and key for TLS cannot be used: ${why}.`, {
      cause,
      path: 'tls',
      remedy: 'They are PEM files that visord can read, and belong together.',
    })
  }
}

async function listening(server: Server, where: string): Promise<void> {
  try {
    await once(server, 'listening')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'EADDRINUSE')
      throw new VisorError('busy', `Another program listens on ${where} already.`, {
        cause,
        remedy: 'Choose another address (--listen HOST:PORT), or none (--no-tcp).',
      })
    throw new VisorError('unavailable', `visord cannot listen on ${where}: ${message}.`, { cause })
  }
}

/** Whether somebody serves on this socket. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** The number of a group by its name in /etc/group (group(5)), or the number itself. */
function findGroup(name: string): number {
  if (/^\d+$/u.test(name)) return Number(name)
  for (const line of readFileSync('/etc/group', 'utf8').split('\n')) {
    const [found, , id] = line.split(':')
    if (found === name && id !== undefined) return Number(id)
  }
  throw new VisorError('invalid-argument', `There is no group '${name}' on this host.`, {
    path: 'socketGroup',
    remedy: `Make it: groupadd --system ${name}`,
  })
}
