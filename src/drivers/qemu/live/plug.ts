/** Puts parts into a running machine, and takes them out again. */
import { type Undo, withUndo } from '../../../host/index.ts'
import type { Context } from '../context.ts'
import { memoryDevices } from '../definition/command-line.ts'
import { type CompleteDefinition, machineEmulator } from '../definition/definition.ts'
import type { Part } from '../definition/parts.ts'
import { deviceParts } from '../devices/devices.ts'
import type { Machine } from '../machine/machine.ts'
import type { DiskImages } from '../machine/preflight.ts'
import { isRecord } from '../qmp/index.ts'
import { addCommand, idOf, removeCommand } from './monitor-command.ts'
import { type Unplugged, unplug } from './unplug.ts'

/** The parts that the machine of one definition has and that of the other has not. */
export async function partsBetween(
  context: Context,
  { more, less, images = standIns(more) }: PartsBetween,
): Promise<Part[]> {
  const emulator = await machineEmulator(context, more)
  const paths = context.paths.of(more.uuid)
  const all = (definition: CompleteDefinition) => [
    ...deviceParts({ definition, emulator, paths, images }),
    ...memoryDevices({ definition, emulator, paths }),
  ]
  const known = new Set(all(less).map(idOf))
  const parts = all(more).filter((part) => !known.has(idOf(part)))
  const isOrdered = [...more.devices.disks, ...more.devices.interfaces].some(
    (one) => one.bootOrder !== undefined,
  )
  return isOrdered ? parts : parts.map(withoutBootIndex)
}

/** An image for each disk, where only the names of parts matter: what is really there is QEMU's to tell. */
function standIns({ devices }: CompleteDefinition): DiskImages {
  return new Map(
    devices.disks.map(({ alias, target, file, block }) => [
      alias ?? target,
      { path: file ?? block ?? `/${target}`, format: 'raw' as const },
    ]),
  )
}

/** An order by kinds counts through all devices, and those that are there keep their numbers until the next start. */
function withoutBootIndex(part: Part): Part {
  if (part.option !== 'device') return part
  const { bootindex: _, ...fields } = part.fields
  return { ...part, fields }
}

interface PartsBetween {
  readonly more: CompleteDefinition
  readonly less: CompleteDefinition
  readonly images?: DiskImages
}

/**
 * Says them to QEMU in order; when one is refused, what was said is taken back, but for devices: they are their
 * guest's to let go ({@link pullOut}).
 */
export async function plugIn({ monitor }: Machine, parts: readonly Part[]): Promise<void> {
  await withUndo(async (undo) => {
    for (const part of parts) {
      const { command, args } = addCommand(part)
      await monitor.execute(command, args)
      pushRemoval(undo, part, (remove, given) => monitor.execute(remove, given))
    }
  })
}

function pushRemoval(
  undo: Undo,
  part: Part,
  execute: (command: string, args: Record<string, unknown>) => Promise<unknown>,
): void {
  const taken = removeCommand(part)
  if (taken) undo.push(() => execute(taken.command, taken.args))
}

/**
 * Has the guest let the devices among the parts go, then takes away what stood behind them. Fails as
 * {@link unplug} does; nothing is taken away then.
 */
export async function pullOut(
  machine: Machine,
  parts: readonly Part[],
  waiting: Pick<Unplugged, 'signal'> = {},
): Promise<void> {
  // The last first: those before may carry it.
  const ids = devicesOf(parts).reverse()
  const nodes = await findNodes(machine, ids)
  for (const device of ids) {
    const isGone = async () => !(await listPeripherals(machine)).has(device)
    await unplug(machine, { ...waiting, device, what: `'${device}'`, hasEvent: true, isGone })
  }
  await removeBackends(machine, parts, nodes)
}

/** The names of the devices among the parts. */
export function devicesOf(parts: readonly Part[]): string[] {
  return parts.flatMap((part) => (part.option === 'device' ? [String(part.fields.id)] : []))
}

/** What stood behind devices that are gone. What is gone already, or used otherwise, stays so. */
export async function removeBackends(
  { monitor }: Machine,
  parts: readonly Part[],
  nodes: readonly string[],
): Promise<void> {
  for (const part of parts.toReversed()) {
    const remove = part.option === 'blockdev' ? undefined : removeCommand(part)
    if (remove) await monitor.execute(remove.command, remove.args).catch(() => {})
  }
  for (const node of nodes) await monitor.execute('blockdev-del', { 'node-name': node }).catch(() => {})
}

/**
 * The block nodes below devices, topmost first: what is there now, which snapshots and copies may have changed
 * since the start.
 */
export async function findNodes({ monitor }: Machine, devices: readonly string[]): Promise<string[]> {
  if (devices.length === 0) return []
  const [blocks, graph] = await Promise.all([
    monitor.execute('query-block'),
    monitor.execute('x-debug-query-block-graph'),
  ])
  const tops = (Array.isArray(blocks) ? blocks.filter(isRecord) : []).flatMap(({ qdev, inserted }) => {
    const alias = /^\/machine\/peripheral\/([^/]+)/u.exec(String(qdev))?.[1] ?? String(qdev)
    return devices.includes(alias) && isRecord(inserted) ? [String(inserted['node-name'])] : []
  })
  return tops.flatMap((top) => nodesBelow(graph, top))
}

function nodesBelow(graph: unknown, top: string): string[] {
  const { nodes, edges } = isRecord(graph) ? graph : {}
  const names = new Map((Array.isArray(nodes) ? nodes : []).filter(isRecord).map((one) => [one.id, one.name]))
  const found: string[] = []
  const visit = (id: unknown) => {
    const name = String(names.get(id) ?? '')
    if (found.includes(name)) return
    found.push(name)
    for (const edge of (Array.isArray(edges) ? edges : []).filter(isRecord))
      if (edge.parent === id) visit(edge.child)
  }
  for (const [id, name] of names) if (name === top) visit(id)
  return found
}

/** The devices with a name that a machine has, by their names. */
export async function listPeripherals({ monitor }: Machine): Promise<Set<string>> {
  const answer = await monitor.execute('qom-list', { path: '/machine/peripheral' })
  const names = (Array.isArray(answer) ? answer.filter(isRecord) : []).map(({ name }) => String(name))
  return new Set(names)
}
