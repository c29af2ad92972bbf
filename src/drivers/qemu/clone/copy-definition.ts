/** The definition of a copy of a machine: that of its source, less all that only one machine can have. */
import { withFile } from '../block/image-files.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { unsupported } from '../definition/unsupported.ts'
import { namedPorts } from '../devices/ports/ports.ts'
import { cloneDefinition } from '../templates/clone-definition.ts'
import type { CopyIdentity, DiskCopy } from './clone-disks.ts'

/**
 * With its own uuid, name, generation id, addresses of cards and disks. Names of sockets, of host sides of cards,
 * and ports of screens are chosen anew; ports of the host stay with the source.
 */
export function copyDefinition(
  source: CompleteDefinition,
  { uuid, name }: Pick<CopyIdentity, 'uuid' | 'name'>,
  copies: readonly DiskCopy[],
): CompleteDefinition {
  const { os, devices, ...rest } = cloneDefinition(source, [], { uuid, name, directory: '/' })
  const { nvram: _nvram, nvramFormat: _format, ...boot } = os
  return {
    ...rest,
    os: boot,
    // The guest reads that of its own.
    sysinfo: rest.sysinfo.map((one) => ({
      ...one,
      system: one.system.filter(({ name }) => name !== 'uuid'),
    })),
    devices: {
      ...devices,
      disks: devices.disks.map((disk) => {
        const copy = copies.find(({ target }) => target === disk.target)
        return copy ? withFile(disk, copy.to) : disk
      }),
      serials: devices.serials.map(withoutLog),
      consoles: devices.consoles.map(withoutLog),
    },
  }
}

/**
 * Fails with `unsupported-config` for a port whose host side only one of two machines can have: a port of the host
 * that it listens on, or a file that it writes.
 */
export function checkHostSides({ devices }: CompleteDefinition): void {
  for (const { path: place, port } of namedPorts(devices)) {
    const { type, mode, host = '', service = '', path = '', peer } = port
    const listens = (type === 'tcp' && mode !== 'connect') || (type === 'udp' && peer !== undefined)
    if (!listens && type !== 'file') continue
    const where = listens ? `listens on '${host}:${service}'` : `is written to '${path}'`
    throw unsupported(
      `${place}.${listens ? 'service' : 'path'}`,
      `${where}, which two machines cannot share`,
      "Use the type 'unix' or 'pty', which each machine has of its own; or change it, copy, and change it back.",
    )
  }
}

function withoutLog<T extends { logFile?: string | undefined }>(port: T): T {
  const { logFile: _, ...rest } = port
  return rest as T
}
