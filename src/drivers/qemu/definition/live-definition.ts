/** The definition of a running machine, with the sockets and ports that were chosen for it. */

import { screenSocket } from '../devices/screens/graphics-parts.ts'
import type { Machine } from '../machine/machine.ts'
import type { GuestPaths } from '../paths.ts'
import { isRecord } from '../qmp/index.ts'
import type { CompleteDefinition } from './definition.ts'

export async function liveDefinition(
  { details, monitor }: Pick<Machine, 'details' | 'monitor'>,
  paths: GuestPaths,
): Promise<CompleteDefinition> {
  const live = structuredClone(details.definition)
  for (const one of live.devices.graphics) {
    const socket = screenSocket(one, { paths })
    if (socket === undefined) {
      if (one.type === 'vnc' && one.port === -1) await nameVncPort(one, monitor)
      continue
    }
    one.socket ??= socket
    // That it might have been anywhere is settled.
    for (const key of ['port', 'autoport', 'listen'] as const) delete one[key]
    if (one.listens[0]?.type === 'address') one.listens = []
  }
  for (const channel of live.devices.channels)
    if (channel.type === 'unix') channel.path ??= paths.socket(channel.alias ?? '')
  return live
}

/** The port that QEMU found; the definition stays as it is when QEMU does not tell. */
async function nameVncPort(
  screen: CompleteDefinition['devices']['graphics'][number],
  monitor: Machine['monitor'],
): Promise<void> {
  const told = await monitor.execute('query-vnc', undefined, { timeoutMs: 2_000 }).catch(() => undefined)
  const port = isRecord(told) ? Number(told.service) : Number.NaN
  if (port > 0) screen.port = port
}
