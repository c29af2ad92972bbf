/** What cannot be in a template, told before anything of it is made. */
import type { Devices } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { unsupported } from '../definition/unsupported.ts'
import { namedPorts } from '../devices/ports/ports.ts'

type Kind = 'hostdevs' | 'smartcards' | 'inputs' | 'disks' | 'interfaces' | 'audios' | 'graphics'
type Refusal = readonly [key: string, why: string, remedy?: string]

/** Devices of which there is one on the host, or whose other side is with one machine: why, and what to do. */
const ofOne: { readonly [K in Kind]: (one: Devices[K][number]) => Refusal | false | undefined } = {
  hostdevs: ({ type }) => [
    'type',
    `is a device of the host (${type}), which one machine has at a time`,
    'Detach it first, and plug it into the clone that shall have it.',
  ],
  smartcards: ({ card }) =>
    card === 'host' && ['card', 'is a card of the host, which clones cannot share', 'Detach it first.'],
  inputs: ({ type }) =>
    (type === 'evdev' || type === 'passthrough') && [
      'type',
      `is a keyboard, mouse or tablet of the host ('${type}'), which clones cannot share`,
      "Use one of the type 'keyboard', 'mouse' or 'tablet'.",
    ],
  disks: ({ type, device, shareable, readonly, transient, encryption }) => {
    if (type === 'vhostuser') return ['type', 'is served by a process whose state QEMU cannot take along']
    if (device === 'lun')
      return ['device', 'is a device of the host, which clones cannot share', "Use 'disk'."]
    if (transient) return ['transient', 'what is written to it ends with the machine', 'Remove transient.']
    if (readonly) return false
    if (encryption)
      return ['encryption', 'what clones write beside it would not be encrypted', 'Detach it first.']
    const why = 'others write to it as well, so it cannot be kept still'
    return shareable && ['shareable', why, 'Detach it first, and plug it into the clones.']
  },
  interfaces: ({ type, managedTarget }) => {
    const why: Readonly<Record<string, string>> = {
      vhostuser: 'is served by a process that knows one machine',
      vdpa: 'is a device of the host',
      server: 'listens on a port of the host',
      client: 'is connected to one other machine',
      udp: 'listens on a port of the host',
      ...(managedTarget === false ? { ethernet: 'has a link of the host that is there already' } : {}),
    }
    const found = why[type]
    return (
      found !== undefined && [
        'type',
        `'${type}' ${found}, which clones cannot share`,
        "Use 'network', 'bridge' or 'user', or detach it first.",
      ]
    )
  },
  audios: ({ type, path = '' }) =>
    type === 'file' && ['path', `is written to '${path}', which clones cannot share`, 'Use another kind.'],
  graphics: ({ type, address }) =>
    type === 'dbus' &&
    address !== undefined && [
      'address',
      'is a bus of the host, on which one machine can have the name',
      "Use 'p2p'.",
    ],
}

function checkKind<K extends Kind>(devices: Pick<Devices, K>, kind: K): void {
  const list: readonly Devices[K][number][] = devices[kind]
  for (const [index, one] of list.entries()) {
    const refusal = ofOne[kind](one)
    if (!refusal) continue
    const [key, why, remedy] = refusal
    throw unsupported(`devices.${kind}[${index}].${key}`, why, remedy)
  }
}

/** What belongs to one machine at a time, or that QEMU cannot take along. */
function checkShared({ devices }: CompleteDefinition): void {
  for (const [index, { backend }] of devices.tpms.entries())
    if (backend !== 'emulator')
      throw unsupported(
        `devices.tpms[${index}]`,
        backend === 'passthrough'
          ? 'is a module of the host, which clones cannot share'
          : 'is served by another program, which clones cannot share',
        "Use the backend 'emulator': each clone gets a copy of its state.",
      )
  for (const [index, { driver }] of devices.filesystems.entries())
    if (driver === 'virtiofs')
      throw unsupported(
        `devices.filesystems[${index}]`,
        'is served by a process whose state QEMU cannot take along',
        "Use 9p (driver 'path'), and mount it in the clones.",
      )
}

/** Host sides of which each clone has its own. */
const ownHostSides = new Set(['pty', 'unix', 'null', 'vc', 'spicevmc', 'spiceport', 'qemu-vdagent'])

/** Fails with `unsupported-config` for what no two machines can share and no copy is made of yet. */
export function checkClonable(definition: CompleteDefinition): void {
  const { devices, cpu, memoryBacking, maxMemoryKiB } = definition
  checkShared(definition)
  for (const kind of Object.keys(ofOne) as Kind[]) checkKind(devices, kind)
  for (const { path: place, port } of namedPorts(devices)) {
    const { type, path, logFile, mode } = port
    const isOwn = ownHostSides.has(type) && !(type === 'unix' && mode === 'connect')
    if (isOwn && logFile === undefined) continue
    const key = isOwn ? 'logFile' : path === undefined ? 'type' : 'path'
    throw unsupported(
      `${place}.${key}`,
      `leads to '${port[key]}', which clones cannot share`,
      "Use the type 'pty'.",
    )
  }
  const kept: Readonly<Record<string, boolean>> = {
    // The memory of a clone is one file.
    'devices.memories': devices.memories.length > 0,
    maxMemoryKiB: maxMemoryKiB !== undefined,
    memoryBacking: memoryBacking !== undefined,
    'cpu.numa': (cpu?.numa.length ?? 0) > 0,
  }
  for (const [path, there] of Object.entries(kept))
    if (there)
      throw unsupported(path, 'cannot be in a template yet', 'Make the template of a machine without it.')
}
