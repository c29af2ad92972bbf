/**
 * Plugs devices into machines and out of them.
 *
 *   plug in:   marked --add behind--> --device_add--> --record--> there
 *                 '---- refused, or found so by a later daemon: taken back ----'
 *   unplug:    marked --device_del--> asked --the guest lets go--> --remove behind--> --record--> gone
 *                 '-- refused: still there --'      '-- late: when it does, also by a later daemon --'
 */
import { rm } from 'node:fs/promises'
import type { DeviceOptions, Domains } from '../../../driver/index.ts'
import { type DomainDefinition, type Interface, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { endShare } from '../devices/shares/serve.ts'
import { topNode } from '../disks/disk-node.ts'
import { limitDisks } from '../disks/disk-throttle.ts'
import type { Machine } from '../machine/machine.ts'
import { removeDirect } from '../network/direct.ts'
import { forgetFiles } from '../network/plug-host-side.ts'
import type { Registry } from '../registry.ts'
import { changeDomain, settleDefinition } from './affect.ts'
import { attach } from './attach.ts'
import { notWhileRunning } from './not-while-running.ts'
import { type DeviceKind, findDevice, type OneDevice, onlyDevice, withDevice, without } from './one-device.ts'
import { devicesOf, findNodes, listPeripherals, partsBetween, pullOut, removeBackends } from './plug.ts'
import { devicesBetween, revokeFilesOf } from './revoke-files.ts'
import { settleUpdate, updating } from './update-device.ts'

export function deviceChanges(
  context: Context,
  registry: Registry,
): Required<Pick<Domains, 'attachDevice' | 'detachDevice' | 'updateDevice'>> {
  return {
    async attachDevice(uuid: string, options: DeviceOptions) {
      registry.definition(uuid)
      const given = onlyDevice(options.device)
      await changeDomain(context, registry, uuid, options, {
        reason: 'device-added',
        edit: (definition) => withDevice(definition, given),
        apply: (machine) => attach(context, machine, given),
      })
    },
    async detachDevice(uuid: string, options: DeviceOptions) {
      registry.definition(uuid)
      const given = onlyDevice(options.device)
      await changeDomain(context, registry, uuid, options, {
        reason: 'device-removed',
        edit: (definition) => without(definition, findDevice(definition, given)),
        apply: (machine) => detach(context, machine, given, options.signal),
      })
    },
    updateDevice: updating(context, registry),
  }
}

export async function detach(
  context: Context,
  machine: Machine,
  given: OneDevice,
  signal?: AbortSignal,
): Promise<void> {
  const before = machine.details.definition
  const found = findDevice(before, given)
  const after = without(before, found) as CompleteDefinition
  const parts = await partsBetween(context, { more: before, less: after })
  if (!parts.some(({ option }) => option === 'device')) throw notWhileRunning(before, given.kind)
  await machine.record({ unplugging: [...(machine.details.unplugging ?? []), String(found.device.alias)] })
  try {
    await pullOut(machine, parts, { signal })
  } catch (error) {
    // What was asked may still come: the mark stays for whoever sees it.
    if (!(error instanceof VisorError) || error.code !== 'timeout') await unmark(machine, found)
    if (error instanceof VisorError && /virtio based memory devices cannot/u.test(error.message))
      throw keepsMemory(before, error)
    throw error
  }
  await forget(context, machine, found)
}

async function unmark(machine: Machine, { device }: OneDevice): Promise<void> {
  const unplugging = machine.details.unplugging?.filter((alias) => alias !== device.alias)
  await machine.record({ unplugging: unplugging?.length ? unplugging : undefined })
}

/** It is gone: so it is from the record, and its files are no longer the machine's. */
async function forget(context: Context, machine: Machine, found: OneDevice): Promise<void> {
  const { definition, unplugging = [] } = machine.details
  const rest = unplugging.filter((alias) => alias !== found.device.alias)
  const after = without(definition, found) as CompleteDefinition
  await machine.record({
    definition: after,
    unplugging: rest.length > 0 ? rest : undefined,
  })
  if (found.kind === 'interfaces') {
    await context.networks?.leave(definition.uuid, found.device.mac as string)
    const { type, target } = found.device as unknown as Interface
    if (type === 'direct' || type === 'network') await removeDirect(context, definition.uuid, target)
  }
  await revokeFilesOf(context, machine, { gone: devicesBetween(definition, after), kept: after })
  await endShare(machine, String(found.device.alias))
}

/** Sees to devices that guests let go later than they were asked to. */
export function followUnplugs(context: Context, registry: Registry): (machine: Machine) => void {
  return (machine) => {
    machine.interceptors.add(({ event, data }) => {
      const alias = String(data.device ?? '')
      const isLate = event === 'DEVICE_DELETED' && machine.details.unplugging?.includes(alias)
      // Whoever waits for it has it recorded first; what is still marked afterwards nobody waited for.
      if (isLate) setTimeout(() => void settleOne(context, registry, machine, alias), lateMs)
      return false
    })
  }
}

/** Longer than whoever waits for a device takes to clear up behind it. */
const lateMs = 2_000

async function settleOne(
  context: Context,
  registry: Pick<Registry, 'tell'>,
  machine: Machine,
  alias: string,
): Promise<void> {
  if (!machine.details.unplugging?.includes(alias)) return
  const { definition } = machine.details
  const found = findByAlias(definition, alias)
  if (!found) return
  try {
    // What was told may have been of one before of the same name.
    if ((await listPeripherals(machine)).has(alias)) return
    const parts = await partsBetween(context, {
      more: definition,
      less: without(definition, found) as CompleteDefinition,
    })
    const nodes = parts.flatMap((part) =>
      part.option === 'blockdev' ? [String(part.node['node-name'])] : [],
    )
    await removeBackends(machine, parts, nodes)
    await forget(context, machine, found)
    registry.tell(definition.uuid, { type: 'changed', reason: 'device-removed' })
  } catch (error) {
    context.log.warn({ domain: definition.name, error: String(error) }, 'A device could not be cleared up.')
  }
}

/** Finishes or takes back what a daemon before had begun: QEMU says which devices there are. */
export async function settleDevices(context: Context, registry: Registry, machine: Machine): Promise<void> {
  try {
    await settlePlugs(context, registry, machine)
    await settleUpdate(context, machine)
  } finally {
    await settleDefinition(registry, machine)
  }
}

/** Devices that were being plugged in are there with all that is theirs, or nothing of them is. */
export async function settlePlugs(
  context: Context,
  registry: Pick<Registry, 'tell'>,
  machine: Machine,
): Promise<void> {
  const { plugging, unplugging = [], definition: before } = machine.details
  if (!plugging && unplugging.length === 0) return
  const there = await listPeripherals(machine)
  for (const alias of unplugging) if (!there.has(alias)) await settleOne(context, registry, machine, alias)
  if (!plugging) return
  const after = plugging.definition
  const parts = await partsBetween(context, { more: after, less: before })
  const devices = devicesOf(parts)
  const isWhole = devices.length > 0 && devices.every((id) => there.has(id))
  const disks = after.devices.disks.filter(
    ({ target }) => !before.devices.disks.some((disk) => disk.target === target),
  )
  if (isWhole) {
    await limitDisks(machine.monitor, disks, {})
    return machine.record({ definition: after, plugging: undefined })
  }
  // A controller that came before it goes when the guest likes.
  for (const id of devices.filter((one) => there.has(one)))
    await machine.monitor.execute('device_del', { id }).catch(() => {})
  // Nothing is on them yet but what a start would make of them.
  const nodes = disks.flatMap((disk) => [topNode(disk), disk.target])
  await removeBackends(machine, parts, [...(await findNodes(machine, devices)), ...nodes])
  await revokeFilesOf(context, machine, { gone: devicesBetween(after, before), kept: before })
  for (const path of plugging.made ?? []) await rm(path, { force: true })
  await forgetFiles(machine, after)
  for (const id of devices) await endShare(machine, id)
  await machine.record({ plugging: undefined })
}

function findByAlias({ devices }: DomainDefinition, alias: string): OneDevice | undefined {
  for (const [kind, list] of Object.entries(devices))
    if (Array.isArray(list))
      for (const device of list as { alias?: string }[])
        if (device.alias === alias) return { kind: kind as DeviceKind, device: device as OneDevice['device'] }
  return undefined
}

/** Source: QEMU's virtio-mem, which is taken back since QEMU 8.2, and virtio-pmem, which never is. */
function keepsMemory({ name }: DomainDefinition, cause: VisorError): VisorError {
  return new VisorError(
    'unsupported-config',
    `The QEMU of domain '${name}' takes no module of this kind back.`,
    {
      path: 'devices.memories',
      remedy: 'Request 0 of a virtio-mem module, or unplug it for the next start only (config).',
      cause,
    },
  )
}
