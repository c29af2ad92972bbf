/**
 * Network cards whose packets another program moves, such as a switch in user space: it is reached by a socket, and
 * reads and writes the memory of the guest. Source: QEMU's docs/interop/vhost-user.rst, "-netdev vhost-user" in qemu(1).
 */
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { FileAccess } from '../../../host/index.ts'
import { type DomainDefinition, type Interface, VisorError } from '../../../model/index.ts'
import { chardev, netdev, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { cannotOpen } from '../disks/disk-image.ts'
import { isAtLeast } from '../emulator/emulator.ts'

export const isVhostUser = ({ type }: Pick<Interface, 'type'>): boolean => type === 'vhostuser'

/** Fails with `unsupported-config` for what its socket cannot be. */
function checkVhostUser(one: Interface, path: string): void {
  const { path: socket, mode, model = 'virtio', reconnect, reconnectSeconds } = one
  if (socket === undefined)
    throw unsupported(`${path}.path`, "is needed for an interface of type 'vhostuser'", 'Name the socket.')
  if (mode !== 'server' && mode !== 'client')
    throw unsupported(
      `${path}.mode`,
      "is needed for an interface of type 'vhostuser'",
      "Say 'client' where the program listens, or 'server' where QEMU shall.",
    )
  if (!model.startsWith('virtio'))
    throw unsupported(`${path}.model`, `'vhostuser' needs a virtio card, not '${model}'`, "Use 'virtio'.")
  if (reconnect && mode === 'server')
    throw unsupported(`${path}.reconnect`, "is for mode 'client'", 'A socket that listens stays there.')
  if (reconnect !== true && reconnectSeconds !== undefined)
    throw unsupported(`${path}.reconnectSeconds`, "is for a socket with 'reconnect'")
  if (reconnect && reconnectSeconds === undefined)
    throw unsupported(`${path}.reconnectSeconds`, 'must be there', 'Say how long it waits between two calls.')
}

export function vhostUserParts(one: Interface, id: string, path: string, version = ''): Part[] {
  checkVhostUser(one, path)
  const { alias, path: socket, mode, queues, reconnect, reconnectSeconds = 0 } = one
  const wait = isAtLeast(version, '9.2')
    ? { 'reconnect-ms': reconnectSeconds * 1000 }
    : { reconnect: reconnectSeconds }
  return [
    chardev('socket', {
      id: `char${alias}`,
      path: socket,
      server: mode === 'server' ? true : undefined,
      ...(reconnect ? wait : {}),
    }),
    netdev('vhost-user', { id, chardev: `char${alias}`, queues }),
  ]
}

/** What QEMU opens: the socket, or the folder in which it makes one. */
export function filesOfVhostUser({ type, path, mode }: Interface): FileAccess[] {
  if (type !== 'vhostuser' || path === undefined) return []
  return mode === 'server'
    ? [{ path: dirname(path), folder: true, what: 'folder of a socket' }]
    : [{ path, write: true, what: 'socket' }]
}

/** Fails with `not-found` or `failed` where nobody can be called. */
export async function checkVhostUserSocket({ type, path = '', mode }: Interface): Promise<void> {
  if (type !== 'vhostuser' || mode === 'server') return
  const found = await stat(path).catch((cause) => {
    throw cannotOpen(path, cause, 'socket')
  })
  if (!found.isSocket()) throw cannotOpen(path, new Error('it is no socket'), 'socket')
}

/** Fails with `unsupported-config` for a socket that a machine which runs would stand still for. */
export function checkPlugged({ type, mode }: Interface, path: string): void {
  if (type === 'vhostuser' && mode === 'server')
    throw unsupported(
      `${path}.mode`,
      "the machine runs, and QEMU would stand still until somebody connects: 'server'",
      "Use mode 'client', or add the card for the next start (config).",
    )
}

/** QEMU waits for who is to connect before it says a word: a start that took too long says so. */
export function explainWaiting({ name, devices }: DomainDefinition, error: unknown): unknown {
  const waits = devices.interfaces.find((one) => isVhostUser(one) && one.mode === 'server')
  if (!waits || !(error instanceof VisorError) || error.code !== 'timeout') return error
  return new VisorError('timeout', `Domain '${name}' waited in vain: nobody connected to '${waits.path}'.`, {
    cause: error,
    object: { kind: 'domain', name },
    remedy: "Start the program that connects to it while the domain starts, or use mode 'client'.",
  })
}
