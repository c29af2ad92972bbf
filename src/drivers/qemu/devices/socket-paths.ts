/** Sockets of the host that a definition names: the kernel keeps their paths in 108 bytes. Source: unix(7). */
import { maxSocketPath } from '../../../host/index.ts'
import type { Devices } from '../../../model/index.ts'
import { unsupported } from '../definition/unsupported.ts'
import { namedPorts } from './ports/ports.ts'

/** Fails with `unsupported-config` for a path that no socket can have. */
export function checkSocketPaths(devices: Devices): void {
  for (const [what, path] of socketsOf(devices)) {
    const length = Buffer.byteLength(path ?? '')
    if (length > maxSocketPath)
      throw unsupported(
        what,
        `the path of a socket can have at most ${maxSocketPath} bytes, not ${length}`,
        'Choose a shorter one.',
      )
  }
}

function socketsOf(devices: Devices): (readonly [what: string, path: string | undefined])[] {
  const { graphics, disks, rngs, filesystems, sharedMemories, interfaces, tpms } = devices
  const ports = namedPorts(devices).map(
    ({ path, port }) => [`${path}.path`, port.type === 'unix' ? port.path : undefined] as const,
  )
  return [
    ...ports,
    ...graphics.flatMap(({ socket, listens }, index) => [
      [`devices.graphics[${index}].socket`, socket] as const,
      ...listens.map((one, at) => [`devices.graphics[${index}].listens[${at}].socket`, one.socket] as const),
    ]),
    ...disks.flatMap(({ socket, hosts }, index) => [
      [`devices.disks[${index}].socket`, socket] as const,
      ...hosts.map((one, at) => [`devices.disks[${index}].hosts[${at}].socket`, one.socket] as const),
    ]),
    ...rngs.map(({ daemonPath }, index) => [`devices.rngs[${index}].daemonPath`, daemonPath] as const),
    ...interfaces.map(({ path }, index) => [`devices.interfaces[${index}].path`, path] as const),
    ...tpms.map(({ socket }, index) => [`devices.tpms[${index}].socket`, socket] as const),
    ...filesystems.map(({ socket }, index) => [`devices.filesystems[${index}].socket`, socket] as const),
    ...sharedMemories.map(
      ({ server }, index) => [`devices.sharedMemories[${index}].server`, server] as const,
    ),
  ]
}
