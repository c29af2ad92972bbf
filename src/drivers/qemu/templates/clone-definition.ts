/** The definition of a clone: that of its template, less all that only one machine can have. */
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { macAddress } from '../../../host/index.ts'
import type { Devices, Disk, Interface } from '../../../model/index.ts'
import { hasVariables, variablesFormat } from '../board/firmware.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { socketAddress } from '../devices/complete-small-devices.ts'

/** Which disk of the template is under an overlay of the clone, by the alias of the disk. */
export interface FrozenDisk {
  readonly alias: string
  readonly file: string
  readonly format: 'raw' | 'qcow2'
  readonly sizeBytes: number
}

export interface CloneIdentity {
  readonly uuid: string
  readonly name: string
  /** Where its disks are. */
  readonly directory: string
}

/** A definition with this identity: addresses of cards, paths of sockets and disks are its own. */
export function cloneDefinition(
  template: CompleteDefinition,
  disks: readonly FrozenDisk[],
  { uuid, name, directory }: CloneIdentity,
): CompleteDefinition {
  const { devices, os } = template
  const frozen = new Set(disks.map(({ alias }) => alias))
  return {
    ...template,
    uuid,
    name,
    ...(template.genid === undefined ? {} : { genid: generationId(uuid) }),
    os: {
      ...os,
      ...(os.commandLine ? { commandLine: rename(os.commandLine, template.name, name) } : {}),
      ...(hasVariables(template)
        ? { nvram: join(directory, 'variables'), nvramFormat: variablesFormat(template) }
        : {}),
    },
    devices: {
      ...devices,
      disks: devices.disks.map((disk) =>
        frozen.has(disk.alias ?? '') ? onOverlay(disk, join(directory, overlayName(disk))) : disk,
      ),
      interfaces: devices.interfaces.map((one, index) => withoutHostSide(one, macAddress(uuid, index))),
      ...(devices.vsock ? { vsock: { ...devices.vsock, cid: socketAddress(uuid) } } : {}),
      serials: devices.serials.map(withoutPath),
      consoles: devices.consoles.map(withoutPath),
      channels: devices.channels.map(withoutPath),
      parallels: devices.parallels.map(withoutPath),
      redirdevs: devices.redirdevs.map(withoutPath),
      smartcards: devices.smartcards.map(withoutPath),
      graphics: devices.graphics.map(withoutSocket),
    },
  }
}

export const overlayName = ({ alias, target }: Pick<Disk, 'alias' | 'target'>): string =>
  `${alias ?? target}.qcow2`

/** The disk with an overlay as its image. */
export function onOverlay(disk: Disk, file: string): Disk {
  const { block: _, ...rest } = disk
  return { ...rest, type: 'file', file, format: 'qcow2' }
}

/** A port of the host leads to one guest only, and a link of it, or a log, is of one. */
function withoutHostSide(
  { portForwards: _p, target, backendLog: _l, ...one }: Interface,
  mac: string,
): Interface {
  // A host side that is there already is found by its name only.
  const isThere = one.type === 'ethernet' && one.managedTarget === false
  return { ...one, ...(isThere && target !== undefined ? { target } : {}), mac, portForwards: [] }
}

interface Line {
  readonly type?: string | undefined
  readonly mode?: string | undefined
  path?: string | undefined
}

/** A socket on which it listens is chosen anew; one that it calls stays. */
function withoutPath<T extends Line>(port: T): T {
  if (port.type !== 'unix' || port.mode === 'connect') return port
  const { path: _, ...rest } = port
  return rest as T
}

function withoutSocket(screen: Devices['graphics'][number]): Devices['graphics'][number] {
  const { socket: _, port, websocket, tlsPort, ...rest } = screen
  return {
    ...rest,
    ...(port === undefined ? {} : { port: -1, autoport: true }),
    ...(websocket === undefined ? {} : { websocket: -1 }),
    ...(tlsPort === undefined ? {} : { tlsPort: -1 }),
    listens: screen.listens.map(({ socket: __, ...listen }) => listen),
  } as typeof screen
}

/** Its next boot says its own name where the template's said its. */
function rename(commandLine: string, from: string, to: string): string {
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/iu.test(to)) return commandLine
  const words = commandLine.split(' ')
  return words.map((word) => (word === `visor.hostname=${from}` ? `visor.hostname=${to}` : word)).join(' ')
}

/** Another than the template's, so that a guest that looks at it knows that it was copied; the same at each call. */
function generationId(uuid: string): string {
  const hex = createHash('sha256').update(`${uuid}/genid`).digest('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join(
    '-',
  )
}
