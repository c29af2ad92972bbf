/** SCSI devices as they are, of the host or of an iSCSI server. Source: scsi-generic of QEMU, sg(4). */
import { readdirSync } from 'node:fs'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import type { Devices, HostDevice } from '../../../model/index.ts'
import type { Fields } from '../definition/key-value.ts'
import { blockdev, device, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { isVirtioScsi, modelOf } from '../disks/disk-place.ts'

const isScsi = ({ type }: HostDevice) => type === 'scsi'

/** Each with its place, of targets that no disk has which is counted through. */
export function completeScsi({ disks, hostdevs }: Pick<Devices, 'disks' | 'hostdevs'>): HostDevice[] {
  const named = [...disks.filter(({ bus }) => bus === 'scsi'), ...hostdevs.filter(isScsi)]
  const taken = new Set(
    named.flatMap(({ address }) => (address?.type === 'drive' ? [Number(address.target ?? 0)] : [])),
  )
  let next = 1
  return hostdevs.map((one) => {
    if (!isScsi(one) || one.address) return one
    while (taken.has(next)) next++
    taken.add(next)
    return {
      ...one,
      address: { type: 'drive', controller: '0', bus: '0', target: String(next), unit: '0' },
    }
  })
}

export function scsiParts(one: HostDevice, path: string, devices: Pick<Devices, 'controllers'>): Part[] {
  const { alias, protocol, readonly, address, bootOrder: bootindex } = one
  if (protocol === undefined) hostAddress(one, path)
  const node = `${alias}-storage`
  const filename = `/dev/${genericNode(one) ?? `bsg/${scsiAddress(one)}`}`
  const source = protocol === 'iscsi' ? iscsiNode(one, path) : ({ driver: 'host_device', filename } as const)
  return [
    blockdev({ ...source, 'node-name': node, 'read-only': readonly }),
    device('scsi-generic', {
      ...{ id: alias, drive: node, bootindex },
      // Several machines may use it, as with disks.
      'share-rw': one.shareable ? true : undefined,
      ...placeOf(address, path, devices),
    }),
  ]
}

function placeOf(
  address: HostDevice['address'],
  path: string,
  devices: Pick<Devices, 'controllers'>,
): Fields {
  if (address?.type !== 'drive') throw unsupported(`${path}.address`, "of a SCSI device is of type 'drive'")
  const { controller = '0', bus = '0', target = '0', unit = '0' } = address
  if (!isVirtioScsi(modelOf(devices as Devices, 'scsi', Number(controller))))
    throw unsupported(
      `${path}.address`,
      'SCSI devices as they are need a controller that takes many',
      "Use a controller of model 'virtio-scsi'.",
    )
  const numbers = { channel: Number(bus), 'scsi-id': Number(target), lun: Number(unit) }
  return { bus: `scsi${Number(controller)}.0`, ...numbers }
}

function iscsiNode({ name, hosts }: HostDevice, path: string): Readonly<Record<string, unknown>> {
  const [, target, lun = '0'] = /^(.+?)(?:\/(\d+))?$/u.exec(name ?? '') ?? []
  const [{ name: host, port = 3260 } = {}] = hosts
  if (target === undefined || host === undefined)
    throw unsupported(
      path,
      'on an iSCSI server needs its name and server',
      "Say them: name 'iqn.../1', hosts.",
    )
  const portal = `${host.includes(':') ? `[${host.replace(/^\[|\]$/gu, '')}]` : host}:${port}`
  return { driver: 'iscsi', transport: 'tcp', portal, target, lun: Number(lun) }
}

function hostAddress({ adapter, hostTarget, hostUnit }: HostDevice, path: string): void {
  if (!/^scsi_host\d+$/u.test(adapter ?? ''))
    throw unsupported(
      `${path}.adapter`,
      'is needed: the controller of the host',
      "Name it as 'lsscsi -H' counts it: 'scsi_host0'.",
    )
  for (const [key, value] of Object.entries({ hostTarget, hostUnit }))
    if (value === undefined) throw unsupported(`${path}.${key}`, 'is needed', "'lsscsi' lists all devices.")
}

/** `0:0:1:0`, as the kernel names it. */
function scsiAddress({ adapter = '', hostBus = '0', hostTarget = '0', hostUnit = '0' }: HostDevice): string {
  const host = adapter.replace('scsi_host', '')
  return [host, hostBus, hostTarget, hostUnit].map(Number).join(':')
}

/** `sg0`; undefined where there is no such device. */
function genericNode(one: HostDevice, sys = '/sys'): string | undefined {
  try {
    return readdirSync(join(sys, 'bus/scsi/devices', scsiAddress(one), 'scsi_generic'))[0]
  } catch {
    return undefined
  }
}

/** The file that leads to it. Fails with `unsupported-config` where the host has none. */
export async function scsiNodes(
  one: HostDevice,
  path: string,
  { sys, dev }: { readonly sys: string; readonly dev: string },
): Promise<string[]> {
  if (one.protocol !== undefined) return []
  const name = genericNode(one, sys)
  if (name === undefined) {
    const has = await access(join(sys, 'bus/scsi')).then(
      () => true,
      () => false,
    )
    throw unsupported(
      path,
      has ? `there is no SCSI device '${scsiAddress(one)}' on this host` : 'this host has no SCSI devices',
      has ? "'lsscsi -g' lists those there are; load the module 'sg' where they have no /dev/sg." : undefined,
    )
  }
  return [join(dev, name)]
}
