/** Snapshots within qcow2 images. Source: qemu-img(1); QEMU's QMP reference, snapshot-save. */
import type { CallOptions } from '../../../driver/index.ts'
import { VisorError } from '../../../model/index.ts'
import type { DiskWork } from '../block/disk-work.ts'
import { readChains } from '../block/graph.ts'
import { inspectImage, snapshotFile } from '../block/image-files.ts'
import { followJobs, newName } from '../block/job.ts'
import { refuseFrozenFiles } from '../block/refuse-frozen.ts'
import { unsupported } from '../definition/unsupported.ts'
import type { Machine } from '../machine/machine.ts'
import type { QmpEvent } from '../qmp/index.ts'
import type { ChosenDisk } from './create.ts'
import { type KeptSnapshot, withoutPending, withSnapshot } from './tree.ts'

export interface TakeOptions extends CallOptions {
  readonly kept: KeptSnapshot
  readonly disks: readonly ChosenDisk[]
}

/** The name in the image: QEMU would take a number for the number of a snapshot. */
export const tagOf = (name: string): string => (/^\d+$/u.test(name) ? `visor:${name}` : name)

export async function takeInternal(
  work: DiskWork,
  uuid: string,
  { kept, disks, ...call }: TakeOptions,
): Promise<void> {
  const { registry, trees } = work
  const machine = registry.machine(uuid)
  const name = tagOf(kept.name)
  checkImages(disks)
  refuseFrozenFiles(
    work.context,
    disks.map(({ file }) => file),
  )
  const files = disks.map(({ file }) => file.path)
  for (const { file } of disks)
    if ((await inspectImage(file, { shared: true })).internalSnapshots.includes(name))
      throw new VisorError('already-exists', `The image '${file.path}' has a snapshot '${name}' already.`, {
        remedy: 'Choose another name.',
      })
  await trees.put(uuid, { ...trees.get(uuid), pending: { created: [], internal: { name, files } } })
  if (!machine) for (const file of files) await snapshotFile('create', name, file)
  else if (kept.memory === 'no') await snapshotDisks(machine, name, disks)
  else await withNodes(machine, disks, (nodes) => runSnapshotJob(machine, 'snapshot-save', name, nodes, call))
  await trees.put(uuid, withSnapshot(withoutPending(trees.get(uuid)), kept))
}

function checkImages(disks: readonly ChosenDisk[]): void {
  if (disks.length === 0)
    throw new VisorError(
      'invalid-state',
      'An internal snapshot needs a disk to be kept in, and there is none.',
      {
        remedy: "Take it with kind 'external'.",
      },
    )
  for (const { disk, file } of disks)
    if (file.format !== 'qcow2')
      throw unsupported(
        'devices.disks',
        `the disk '${disk.target}' is ${file.format}, which cannot hold an internal snapshot`,
        "Take it with kind 'external', or convert the disk to qcow2.",
      )
}

async function snapshotDisks(machine: Machine, name: string, disks: readonly ChosenDisk[]): Promise<void> {
  await withNodes(machine, disks, (nodes) =>
    machine.monitor.execute(
      'transaction',
      {
        actions: nodes.map((device) => ({ type: 'blockdev-snapshot-internal-sync', data: { device, name } })),
      },
      { timeoutMs: 60_000 },
    ),
  )
}

async function withNodes<T>(
  machine: Machine,
  disks: readonly ChosenDisk[],
  use: (nodes: string[]) => Promise<T>,
): Promise<T> {
  const chains = await readChains(machine)
  return use(disks.flatMap(({ disk }) => chains.get(disk.target)?.[0].node ?? []))
}

/** Saves, loads or deletes a snapshot of the whole machine; the guest stands still meanwhile. */
export async function runSnapshotJob(
  machine: Machine,
  command: 'snapshot-save' | 'snapshot-load' | 'snapshot-delete',
  tag: string,
  devices: readonly string[],
  { signal, progress }: CallOptions,
): Promise<void> {
  const id = newName('snapshot')
  const intercept = ({ event }: QmpEvent) => event === 'STOP' || event === 'RESUME'
  machine.interceptors.add(intercept)
  try {
    const vmstate = command === 'snapshot-delete' ? {} : { vmstate: devices[0] }
    await machine.monitor.execute(command, { 'job-id': id, tag, devices, ...vmstate })
    await followJobs(machine, [id], {
      phase: 'working on the snapshot',
      ...(signal ? { signal } : {}),
      ...(progress ? { progress } : {}),
    })
  } finally {
    machine.interceptors.delete(intercept)
  }
}
