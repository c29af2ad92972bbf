import { rename, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import type { CompleteConnection } from '../../driver/index.ts'
import { syncDirectory } from '../../host/index.ts'
import { type DomainDefinition, VisorError, type Volume } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { fileName } from '../new-disks.ts'
import { buses, type OvfBus } from '../ova/ovf.ts'
import { type ExportedDisk, writeOva } from '../ova/write-ova.ts'
import { withProgress } from '../progress.ts'
import { formatBytes } from '../units.ts'
import { refuseThere } from '../volume-transfer.ts'

interface Flags {
  readonly force?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description('Save a machine that is off, with its disks, as an OVA that other hypervisors import.')
    .argument('<domain>', 'its name or uuid')
    .argument('<file>', 'of this machine: name.ova')
    .option('--force', 'replace the file')
    .action((domain: string, file: string, flags: Flags) => exportAppliance(context, domain, file, flags))
  addExamples(command, [['visor export web web.ova', 'its disks as VMDK, with a manifest']])
}

async function exportAppliance(
  { connected, output, signal }: Context,
  key: string,
  file: string,
  { force }: Flags,
): Promise<void> {
  const target = resolve(file)
  if (!/\.ova$/iu.test(target))
    throw new VisorError('invalid-argument', `'${file}' is no name of an OVA.`, {
      remedy: "Choose one that ends in '.ova'.",
    })
  if (!force) await refuseThere(target)
  const partial = `${target}.part-${crypto.randomUUID()}`
  try {
    const bytes = await connected((connection) =>
      withProgress(output, `Exporting ${key}`, signal, async (call) => {
        const { name, state, uuid } = await connection.domains.get(key)
        if (state !== 'shutoff' && state !== 'crashed')
          throw new VisorError('invalid-state', `The machine '${name}' is ${state}: its disks change.`, {
            remedy: `Stop it first: visor stop ${name}.`,
            object: { kind: 'domain', name },
          })
        const definition = await connection.domains.describe(uuid, { inactive: true })
        return writeOva(partial, await describeMachine(connection, definition), call)
      }),
    )
    await rename(partial, target)
    await syncDirectory(dirname(target))
    output.print({ file: target, bytes }, () => '')
    output.note(`${output.noteColours.green('✓')} ${key} exported to ${file}, ${formatBytes(bytes)}`)
  } finally {
    await rm(partial, { force: true })
  }
}

const cardSubtypes: Readonly<Record<string, string>> = {
  e1000: 'E1000',
  e1000e: 'E1000e',
  vmxnet3: 'VmxNet3',
  pcnet: 'PCNet32',
}
const scsiSubtypes: Readonly<Record<string, string>> = {
  lsilogic: 'lsilogic',
  lsisas1068: 'lsilogicsas',
  vmpvscsi: 'VirtualSCSI',
}

async function describeMachine(
  connection: CompleteConnection,
  { name, memoryKiB, vcpus, os, devices }: DomainDefinition,
) {
  const plain = fileName(name).slice(0, 80)
  const disks: ExportedDisk[] = []
  for (const disk of devices.disks.filter(({ device }) => device === 'disk')) {
    const volume = await volumeOf(connection, name, disk)
    const bus: OvfBus = buses.find((one) => one === disk.bus) ?? 'sata'
    disks.push({
      ...{ bus: bus === 'virtio' ? ('sata' as const) : bus, capacityBytes: volume.capacityBytes },
      file: `${plain}-disk${disks.length}.vmdk`,
      open: (signal) => connection.volumes.download(volume.pool, volume.name, { format: 'vmdk', signal }),
    })
  }
  const scsi = devices.controllers.find(({ type }) => type === 'scsi')?.model ?? ''
  return {
    ...{ name, plain, disks, cpus: vcpus, memoryMiB: Math.max(1, Math.round((memoryKiB ?? 0) / 1024)) },
    efi: os.firmware === 'efi',
    scsiSubtype: scsiSubtypes[scsi] ?? 'VirtualSCSI',
    cards: devices.interfaces.map(({ model = '' }) => cardSubtypes[model] ?? 'VmxNet3'),
  }
}

async function volumeOf(
  { volumes }: CompleteConnection,
  domain: string,
  disk: DomainDefinition['devices']['disks'][number],
): Promise<Volume> {
  const path = disk.file ?? disk.block
  if (disk.pool !== undefined && disk.volume !== undefined) return volumes.get(disk.pool, disk.volume)
  const found = path === undefined ? undefined : await volumes.find({ path }).catch(() => undefined)
  if (found) return found
  throw new VisorError(
    'unsupported-config',
    `The disk '${disk.target}' of '${domain}' is in no pool of the host that is active.`,
    { remedy: 'Start its pool, or make one of the folder that it is in: visor pool create.' },
  )
}
