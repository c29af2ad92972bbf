/**
 * Snapshots below overlays: the files in use become those of the snapshot, and the domain goes on in new ones.
 *
 *   record intent -> make overlays -> processors stop -> memory -> QEMU changes over -> definitions, tree -> go on
 *
 * With `live` the guest goes on while its memory is written. Where QEMU can keep pages as they were, memory
 * comes last, and the snapshot is of the beginning; else it comes first, is written again as far as it changes,
 * and the snapshot is of the end. Source: QEMU's QMP reference, blockdev-snapshot, background-snapshot.
 */
import { randomUUID } from 'node:crypto'
import { cannotWrite } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import { recordFiles, whileStill } from '../block/change-disks.ts'
import { type DiskWork, removeNodes } from '../block/disk-work.ts'
import { readChains } from '../block/graph.ts'
import { addBitmap, type DiskFile, inspectImage, makeImage, mergeBitmap } from '../block/image-files.ts'
import { newName } from '../block/job.ts'
import { overlayNode } from '../block/nodes.ts'
import { grantAccess } from '../machine/access.ts'
import { giveUpSending } from '../machine/give-up-sending.ts'
import type { Machine } from '../machine/machine.ts'
import { writeState } from '../machine/save.ts'
import { receiveState } from '../machine/saved-state.ts'
import type { QmpEvent } from '../qmp/index.ts'
import type { ChosenDisk } from './create.ts'
import type { TakeOptions } from './internal.ts'
import { collapse } from './merge.ts'
import { type KeptSnapshot, withoutPending, withSnapshot } from './tree.ts'

interface Overlay extends ChosenDisk {
  readonly to: DiskFile
}

export async function takeExternal(
  work: DiskWork,
  uuid: string,
  { kept, disks, live = false, ...call }: TakeOptions & { readonly live?: boolean },
): Promise<void> {
  const { registry, trees } = work
  const machine = registry.machine(uuid)
  const overlays: Overlay[] = disks.flatMap((one) => {
    const path = kept.disks.find(({ name }) => name === one.disk.target)?.overlay
    return path === undefined ? [] : [{ ...one, to: { type: 'file', path, format: 'qcow2' } as const }]
  })
  if (overlays.length === 0 && kept.memory === 'no')
    throw new VisorError('invalid-argument', 'There is nothing to take a snapshot of.', {
      remedy: 'Name a disk that the guest can write to.',
    })
  const beside = kept.memoryFile === undefined ? [] : [kept.memoryFile]
  const created = [...overlays.map(({ to }) => to.path), ...beside]
  const before = trees.get(uuid)
  const bases = [
    ...before.bases.filter(({ path }) => !disks.some(({ file }) => file.path === path)),
    ...disks.map(({ file }) => file),
  ]
  await trees.put(uuid, { ...before, bases, pending: { created, beside, snapshot: kept } })
  await makeOverlays(machine, overlays)
  const finish = () => {
    const tree = withSnapshot(withoutPending(trees.get(uuid)), kept)
    return trees.put(uuid, { ...tree, made: [...tree.made, ...overlays.map(({ to }) => to.path)] })
  }
  const changes = overlays.map(({ file, to }) => ({ from: file.path, to }))
  const changeOver = async () => {
    if (machine) await useOverlays(machine, overlays)
    await recordFiles(registry, uuid, changes)
  }
  const goesOn = live && kept.memory === 'external' && machine?.state.state === 'running'
  if (machine && goesOn && (await canKeepPages(machine))) {
    await takeLive(work, uuid, machine, kept, { changeOver, ...call })
    return finish()
  }
  const take = async () => {
    if (machine && kept.memory === 'external') await saveMemory(work, machine, kept, call)
    await changeOver()
    await finish()
  }
  // QEMU stops the guest for the last of its memory.
  await (machine ? whileStill(machine, take, { stops: goesOn }) : take())
}

async function makeOverlays(machine: Machine | undefined, overlays: readonly Overlay[]): Promise<void> {
  const chains = machine && (await readChains(machine))
  for (const { disk, file, to } of overlays) {
    const image = chains?.get(disk.target)?.[0]
    const facts = image ?? (await inspectImage(file))
    await makeImage(to.path, { format: 'qcow2', sizeBytes: facts.sizeBytes, backing: file })
    // What is to be remembered of before is remembered in the file in use.
    if (!machine && file.format === 'qcow2')
      for (const { name } of facts.bitmaps.filter(({ inconsistent }) => !inconsistent)) {
        await addBitmap(to.path, name)
        await mergeBitmap(to.path, name, file.path)
      }
  }
}

/** All disks at the same moment, or none. */
async function useOverlays(machine: Machine, overlays: readonly Overlay[]): Promise<void> {
  const chains = await readChains(machine)
  const nodes: string[] = []
  const actions: object[] = []
  try {
    for (const { disk, to } of overlays) {
      const top = chains.get(disk.target)?.[0]
      if (!top) throw new VisorError('invalid-state', `The disk '${disk.target}' is not there any more.`)
      const node = newName('overlay')
      await grantAccess(machine, [{ path: to.path, write: true, what: 'disk image' }])
      await machine.monitor.execute('blockdev-add', overlayNode(disk, to, node))
      nodes.push(node)
      for (const { name, granularity } of top.bitmaps.filter((one) => one.persistent && !one.inconsistent))
        actions.push(
          { type: 'block-dirty-bitmap-add', data: { node, name, granularity, persistent: true } },
          {
            type: 'block-dirty-bitmap-merge',
            data: { node, target: name, bitmaps: [{ node: top.node, name }] },
          },
        )
      actions.push({ type: 'blockdev-snapshot', data: { node: top.node, overlay: node } })
    }
    if (actions.length > 0) await machine.monitor.execute('transaction', { actions }, { timeoutMs: 60_000 })
  } catch (error) {
    await removeNodes(machine, { only: nodes }).catch(() => {})
    throw error
  }
}

type SaveCall = Pick<TakeOptions, 'signal' | 'progress'>

/** Writes memory and devices to the file of the snapshot. */
async function saveMemory(
  { context }: DiskWork,
  machine: Machine,
  kept: KeptSnapshot,
  call: SaveCall,
  started: () => void = () => {},
): Promise<void> {
  const { monitor, details } = machine
  const { uuid } = details.definition
  const target = kept.memoryFile ?? ''
  const { version } = await monitor.greeting
  const socket = context.paths.of(uuid).saveSocket
  const intercept = ({ event }: QmpEvent) => event === 'MIGRATION'
  machine.interceptors.add(intercept)
  const writer = await receiveState(
    target,
    `${target}.partial`,
    { path: socket, user: machine.guest.user },
    {
      id: randomUUID(),
      savedAt: kept.createdAt,
      emulatorVersion: `${version.major}.${version.minor}.${version.micro}`,
      paused: kept.state === 'paused',
      definition: kept.definition,
    },
  )
  try {
    started()
    await writeState(machine, socket, writer, call)
    await writer.commit()
  } catch (error) {
    await writer.discard()
    await giveUpSending(monitor)
    throw cannotWrite(target, error, {
      what: 'The memory',
      remedy: 'Make room there, or take a snapshot of the disks only.',
    })
  } finally {
    machine.interceptors.delete(intercept)
  }
}

/** The disks first; then the guest goes on while its memory, as it was then, is written. */
async function takeLive(
  work: DiskWork,
  uuid: string,
  machine: Machine,
  kept: KeptSnapshot,
  { changeOver, ...call }: SaveCall & { changeOver: () => Promise<void> },
): Promise<void> {
  try {
    // QEMU lets the guest go on by itself; whileStill makes sure of it.
    const saved = Promise.withResolvers<void>()
    saved.promise.catch(() => {})
    await whileStill(machine, async () => {
      await changeOver()
      await new Promise<void>((resolve, reject) => {
        saveMemory(work, machine, kept, call, () => {}).then(saved.resolve, saved.reject)
        void waitUntilRunning(machine, saved.promise).then(resolve, reject)
      })
    })
    await saved.promise
  } catch (error) {
    await work.trees.put(
      uuid,
      withoutPending({
        ...work.trees.get(uuid),
        made: [...work.trees.get(uuid).made, ...kept.disks.flatMap(({ overlay }) => overlay ?? [])],
      }),
    )
    await collapse(work, uuid, {}).catch((leftover: unknown) =>
      work.context.log.warn(
        { error: String(leftover) },
        'Overlays of a snapshot that failed are still in use.',
      ),
    )
    throw error
  } finally {
    await keepPages(machine, false).catch(() => {})
  }
}

const keepPages = ({ monitor }: Machine, state: boolean) =>
  monitor.execute('migrate-set-capabilities', {
    capabilities: [{ capability: 'background-snapshot', state }],
  })

/** Whether QEMU can write memory as it was while the guest goes on: needs userfaultfd(2), and the right to it. */
const canKeepPages = (machine: Machine): Promise<boolean> =>
  keepPages(machine, true).then(
    () => true,
    () => false,
  )

/** Resolves when QEMU has what it needs and the guest goes on, or the writing has ended. */
async function waitUntilRunning({ monitor }: Machine, saved: Promise<void>): Promise<void> {
  let ended = false
  void saved.then(
    () => (ended = true),
    () => (ended = true),
  )
  while (!ended) {
    const status = await monitor.execute('query-status')
    if ((status as { running?: boolean }).running) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
