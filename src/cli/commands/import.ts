import type { Command } from 'commander'
import { type CompleteConnection, sendVolume } from '../../driver/index.ts'
import { readParts } from '../../host/index.ts'
import { type DomainDefinitionInput, VisorError, type Volume } from '../../model/index.ts'
import { buildInterface } from '../build-definition.ts'
import { chooseMachine, type MachineChoice } from '../choose-machine.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { explainVolume, fileName } from '../new-disks.ts'
import { type Appliance, openAppliance } from '../ova/open-appliance.ts'
import type { OvfDisk, OvfMachine } from '../ova/ovf.ts'
import { withProgress } from '../progress.ts'
import { formatBytes, formatKiB } from '../units.ts'
import { defaultPool } from '../volumes.ts'

interface Flags {
  readonly name?: string
  readonly pool?: string
  readonly network?: string
  readonly driver?: string
  readonly accel?: 'auto' | 'kvm' | 'tcg'
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Make a machine of an OVA, or of an OVF with its files beside it, as other hypervisors export them.',
    )
    .argument('<file>', 'of this machine: name.ova, name.ovf')
    .option('--name <name>', 'its name; as the OVF says without')
    .option('--pool <pool>', 'where its disks go')
    .option('--network <network>', "of its cards: 'user', 'none', 'network=NAME', 'bridge=NAME'", 'user')
    .option('--driver <driver>', 'which driver runs it')
    .option('--accel <accel>', "'kvm' or 'tcg'")
    .action((file: string, flags: Flags) => importAppliance(context, file, flags))
  addExamples(command, [
    ['visor import appliance.ova', 'its disks become qcow2 volumes'],
    ['visor import web.ovf --name web --network network=default', 'with its cards on a network'],
  ])
}

async function importAppliance(context: Context, path: string, flags: Flags): Promise<void> {
  const { connected, output, signal } = context
  await connected(async (connection) =>
    withProgress(output, `Importing ${path}`, signal, async (call) => {
      const appliance = await openAppliance(path, call)
      try {
        const { machine } = appliance
        const name = flags.name ?? machine.name
        const there = await connection.domains.list({ names: [name] })
        if (there.length > 0)
          throw new VisorError('already-exists', `There is already a domain '${name}'.`, {
            remedy: 'Choose another name: --name.',
            object: { kind: 'domain', name },
          })
        const choice = chooseMachine(await connection.host.capabilities(), { ...flags, arch: 'x86_64' })
        const made: Volume[] = []
        try {
          for (const [index, disk] of machine.disks.entries())
            made.push(
              await makeDisk(connection, appliance, disk, `${fileName(name)}-${index}.qcow2`, flags, call),
            )
          const domain = await connection.domains.define(definitionOf(name, machine, made, flags, choice), {
            ...{ ifNoneMatch: '*', signal },
          })
          output.print(domain, () => '')
        } catch (error) {
          for (const { pool, name: volume } of made)
            await connection.volumes.remove(pool, volume).catch(() => {})
          throw error
        }
        tell(context, name, appliance)
      } finally {
        await appliance.close()
      }
    }),
  )
}

function tell({ output }: Context, name: string, { machine, verified }: Appliance): void {
  const { cpus, memoryKiB, disks, cards, leftOut } = machine
  const size = disks.reduce((sum, { capacityBytes }) => sum + capacityBytes, 0)
  output.note(
    `${output.noteColours.green('✓')} ${name} is defined: ${cpus} processors, ${formatKiB(memoryKiB)}, ${disks.length} disks (${formatBytes(size)}), ${cards.length} network cards`,
  )
  if (!verified) output.note('note: there was no manifest that its files could be held against')
  if (leftOut.length > 0) output.note(`note: left out: ${leftOut.join(', ')}`)
}

type Call = Parameters<Parameters<typeof withProgress>[3]>[0]

/** A qcow2 volume of a disk: what comes is kept beside it until it is converted. */
async function makeDisk(
  connection: CompleteConnection,
  appliance: Appliance,
  { file, format, capacityBytes }: OvfDisk,
  name: string,
  { pool = defaultPool }: Flags,
  { signal, progress }: Call,
): Promise<Volume> {
  const { volumes } = connection
  if (file === undefined)
    return volumes
      .create(pool, { name, format: 'qcow2', capacityBytes, signal })
      .catch((error) => Promise.reject(explainVolume(error)))
  if ((await volumes.list(pool)).some((volume) => volume.name === name))
    throw new VisorError('already-exists', `There is already a volume '${name}'.`, {
      remedy: 'Choose another name: --name. Or remove it: visor volume remove.',
      object: { kind: 'volume', name },
    })
  const { file: handle, offset, sizeBytes } = appliance.fileOf(file)
  const scratch = `import-${crypto.randomUUID()}.${format}`
  try {
    await sendVolume(connection, pool, {
      ...{ volume: scratch, format, sizeBytes, isRepeatable: true, signal, progress },
      read: (from) => readParts(handle, { offset: offset + from, end: offset + sizeBytes, signal }),
    })
    const came = await volumes.get(pool, scratch)
    if (came.capacityBytes > capacityBytes + 2 ** 20)
      throw new VisorError(
        'failed',
        `The disk '${file}' is larger than the OVF says: ${came.capacityBytes} bytes.`,
      )
    return await volumes.clone(pool, scratch, { name, format: 'qcow2', signal, progress })
  } finally {
    await volumes.remove(pool, scratch).catch(() => {})
  }
}

const prefixes = { ide: 'hd', sata: 'sd', scsi: 'sd', nvme: 'nvme', virtio: 'vd' } as const

function definitionOf(
  name: string,
  { cpus, memoryKiB, efi, scsiModel, disks, cards }: OvfMachine,
  volumes: readonly Volume[],
  { network = 'user' }: Flags,
  { type, arch }: MachineChoice,
): DomainDefinitionInput {
  const taken = new Map<string, number>()
  const letter = (prefix: string) => {
    const number = taken.get(prefix) ?? 0
    taken.set(prefix, number + 1)
    return prefix === 'nvme' ? `nvme${number}n1` : prefix + String.fromCharCode(97 + number)
  }
  // A chipset with IDE has no SATA of its own: all of its disks are where the first is.
  const hasIde = disks.some(({ bus }) => bus === 'ide')
  const places = disks.map(({ bus }, index) => {
    const real = hasIde && bus === 'sata' ? 'ide' : bus
    const volume = volumes[index]
    return {
      ...{ type: 'file' as const, device: 'disk' as const, format: 'qcow2' as const, bus: real },
      ...{ file: volume?.path, target: letter(prefixes[real]) },
    }
  })
  return {
    ...{ type, name, memoryKiB, vcpus: cpus },
    os: { arch, ...(hasIde && { machine: 'pc' }), ...(efi && { firmware: 'efi' }), boot: ['hd'] },
    features: { acpi: true, apic: true },
    devices: {
      disks: places.map(({ file = '', ...disk }) => ({ ...disk, file })),
      interfaces: cards.flatMap((model) =>
        buildInterface(network, false).map((card) => ({ ...card, model })),
      ),
      ...(disks.some(({ bus }) => bus === 'scsi') && {
        controllers: [{ type: 'scsi' as const, index: 0, model: scsiModel ?? 'lsilogic' }],
      }),
      serials: [{ type: 'pty' }],
      consoles: [{ type: 'pty', target: 'serial' }],
      graphics: [{ type: 'vnc' }],
      videos: [{ model: 'vga' }],
    },
  }
}
