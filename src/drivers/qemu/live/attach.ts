/** Plugs one device into a machine that runs. The phases stand above `live/devices.ts`. */
import { access, rm } from 'node:fs/promises'
import { liftMemoryLock, type Undo, withUndo } from '../../../host/index.ts'
import { type Disk, type Filesystem, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import { type CompleteDefinition, completeDefinition } from '../definition/definition.ts'
import type { Part } from '../definition/parts.ts'
import { hostDeviceFiles, locksMemory } from '../devices/host-devices.ts'
import { loggedPorts, logOf, portsOf } from '../devices/ports/ports.ts'
import { isVirtiofs } from '../devices/shares/filesystems.ts'
import { checkPluggedMemory, plugShare } from '../devices/shares/plugged.ts'
import { limitDisks } from '../disks/disk-throttle.ts'
import { locateVolume } from '../disks/volume-disks.ts'
import { filesAtStart, grantAccess } from '../machine/access.ts'
import { makeConsoleLogs, makeMemoryFiles, makePortFiles, makeSecretFiles } from '../machine/guest-files.ts'
import type { Machine } from '../machine/machine.ts'
import { type DiskImages, preflight } from '../machine/preflight.ts'
import { plugHostSide } from '../network/plug-host-side.ts'
import { checkPlugged } from '../network/vhost-user.ts'
import { checkAcpi } from './acpi.ts'
import { notWhileRunning } from './not-while-running.ts'
import { type DeviceKind, type OneDevice, withDevice, without } from './one-device.ts'
import {
  devicesOf,
  findNodes,
  listPeripherals,
  partsBetween,
  plugIn,
  pullOut,
  removeBackends,
} from './plug.ts'
import { devicesBetween } from './revoke-files.ts'

/** What is to come, known and checked before anything changes. */
interface Plan {
  readonly added: OneDevice
  readonly before: CompleteDefinition
  readonly after: CompleteDefinition
  /** The definition with this device alone, and what comes with it, such as a controller. */
  readonly alone: CompleteDefinition
  readonly images: DiskImages
  readonly parts: readonly Part[]
  /** Files that are made for it. */
  readonly made: readonly string[]
}

/**
 * Plugs it in. When a step fails, those before are taken back: the files that QEMU was let at, what stands behind the
 * device, and what came with it, such as a controller. A guest that does not let go of what it has got keeps it; the
 * live definition says so then.
 */
export async function attach(context: Context, machine: Machine, given: OneDevice): Promise<void> {
  const plan = await planAttach(context, machine, given)
  await machine.record({ plugging: { definition: plan.after, made: plan.made } })
  await withUndo(
    async (undo) => {
      undo.push(() => machine.record({ plugging: undefined }))
      await makeFiles(context, machine, plan, undo)
      const shares = await plugShare(context, machine, plan.after, plan.added.device, undo)
      try {
        await letAt(context, machine, plan, undo)
        await plug(context, machine, plan, undo)
      } catch (error) {
        throw shares ? await shares.explain(error) : error
      }
    },
    (error) =>
      context.log.warn(
        { domain: plan.after.name, error: String(error) },
        'What came with a device that was refused could not be taken back.',
      ),
  )
}

async function planAttach(context: Context, machine: Machine, given: OneDevice): Promise<Plan> {
  const before = machine.details.definition
  const located =
    given.kind === 'disks'
      ? { ...given, device: await locateVolume(context, given.device as unknown as Disk) }
      : given
  const after = await completeDefinition(withDevice(structuredClone(before), located as OneDevice), {
    ...context,
    isRunning: true,
  })
  const added = { kind: given.kind, device: findAdded(before, after, given.kind) }
  const alone = devicesBetween(after, before)
  const images = await preflight(alone, context.paths.of(after.uuid))
  const parts = await partsBetween(context, { more: after, less: before, images })
  checkAcpi(after, parts)
  const isNinep = given.kind === 'filesystems' && !isVirtiofs(added.device as Pick<Filesystem, 'driver'>)
  if (isNinep || parts.some(({ option }) => option === 'start')) throw notWhileRunning(after, given.kind)
  await checkPluggedMemory(machine, alone)
  for (const one of alone.devices.interfaces) checkPlugged(one, 'devices.interfaces[0]')
  return { added, before, after, alone, images, parts, made: await filesToMake(context, alone) }
}

/** Files that QEMU can make none of, and that are not there yet. */
async function filesToMake(context: Context, { uuid, devices }: CompleteDefinition): Promise<string[]> {
  const paths = context.paths.of(uuid)
  const wanted = [
    ...loggedPorts(devices).map((port) => logOf(port, paths)),
    ...portsOf(devices).flatMap(({ type, path, logFile }) => [type === 'file' ? path : undefined, logFile]),
    ...devices.memories.map(({ path }) => path),
  ].filter((path) => path !== undefined)
  const missing: string[] = []
  for (const path of new Set(wanted)) if (!(await isThere(path))) missing.push(path)
  return missing
}

async function makeFiles(
  context: Context,
  { guest }: Machine,
  { alone, made }: Plan,
  undo: Undo,
): Promise<void> {
  const paths = context.paths.of(alone.uuid)
  for (const path of made) undo.push(() => rm(path, { force: true }))
  await makeConsoleLogs(alone, paths, { fresh: false, user: guest.user })
  await makePortFiles(alone)
  await makeMemoryFiles(alone)
  await makeSecretFiles(context, alone, paths)
}

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )

/** Lets QEMU at what it opens, and at as much memory as devices of the host reach by themselves. */
async function letAt(context: Context, machine: Machine, { alone, images }: Plan, undo: Undo): Promise<void> {
  const files = filesAtStart(alone, images, context.paths.of(alone.uuid))
  undo.push(await grantAccess(machine, [...files, ...(await hostDeviceFiles(alone.devices))]))
  if (locksMemory(alone.devices)) undo.push(await liftMemoryLock(machine.guest.identity.pid))
}

async function plug(context: Context, machine: Machine, plan: Plan, undo: Undo): Promise<void> {
  const { after, added } = plan
  const side = await plugHostSide(context, machine, after, { alias: added.device.alias, parts: plan.parts })
  undo.push(side.end)
  try {
    await plugIn(machine, side.parts)
    side.close()
    if (added.kind === 'disks')
      await limitDisks(
        machine.monitor,
        after.devices.disks.filter(({ alias }) => alias === added.device.alias),
        {},
      )
    await machine.record({ definition: side.definition, plugging: undefined })
  } catch (error) {
    await pullBack(context, machine, { ...plan, after: side.definition, parts: side.parts }, undo)
    throw error
  }
}

/** Has the guest let go of what came of it; what it keeps is in the definition from then on. */
async function pullBack(context: Context, machine: Machine, plan: Plan, undo: Undo): Promise<void> {
  const { after, added, parts } = plan
  const there = await listPeripherals(machine)
  const came = parts.filter((part) => part.option !== 'device' || there.has(String(part.fields.id)))
  const nodes = await findNodes(machine, devicesOf(came))
  const failure = await pullOut(machine, came).catch((error: unknown) => error)
  const left = await listPeripherals(machine)
  const kept = devicesOf(parts).filter((id) => left.has(id))
  // The last may have gone a moment after it was given up.
  if (kept.length === 0) return removeBackends(machine, parts, nodes)
  context.log.warn({ domain: after.name, kept, error: String(failure) }, 'The guest keeps what was refused.')
  const others = without(after, added) as CompleteDefinition
  const own = devicesOf(await partsBetween(context, { more: after, less: others }))
  const isThere = kept.some((id) => own.includes(id))
  // What stands behind it is in use.
  if (isThere) undo.keep()
  else await removeBackends(machine, parts, nodes)
  await machine.record({
    definition: isThere ? after : others,
    plugging: undefined,
    // It was asked, and may still do it.
    unplugging: [...(machine.details.unplugging ?? []), ...kept],
  })
}

/** The one that the definition after has and that before has not. */
function findAdded(
  before: CompleteDefinition,
  after: CompleteDefinition,
  kind: DeviceKind,
): OneDevice['device'] {
  const known = new Set((before.devices[kind] as readonly { alias?: string }[]).map(({ alias }) => alias))
  const added = (after.devices[kind] as readonly OneDevice['device'][]).find(({ alias }) => !known.has(alias))
  if (!added) throw new VisorError('internal', 'The new device has no name of its own.')
  return added
}
