import type { Command } from 'commander'
import type { DevicesInput, DomainDefinition } from '../../model/index.ts'
import { parseDevice, VisorError } from '../../model/index.ts'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { buildInterface } from '../build-definition.ts'
import { type ChangeCall, changeDomain, nameDevice } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { type DiskSpec, parseDisk } from '../disk-spec.ts'
import { loadText } from '../documents.ts'
import { addExamples } from '../help.ts'
import { withNewDisks } from '../new-disks.ts'
import { inFile } from '../report-error.ts'
import { noteShares } from '../shares/note-shares.ts'
import { parseShare, shareUsage, withBestShares } from '../shares/share-spec.ts'

interface Flags extends AffectFlags {
  readonly disk: readonly string[]
  readonly cdrom: readonly string[]
  readonly network: readonly string[]
  readonly share: readonly string[]
  readonly file: readonly string[]
}

const collect = (value: string, before: readonly string[]) => [...before, value]

export function configure(command: Command, context: Context): void {
  command
    .description('Plug disks, network cards and other devices in, also while the machine runs.')
    .argument('<domain>', 'name or uuid')
    .optionsGroup('What:')
    .option(
      '--disk <disk>',
      'a new disk of a size (20GiB), a file[,format=qcow2][,readonly][,bus=], or a volume,pool=NAME',
      collect,
      [],
    )
    .option('--cdrom <file>', 'an ISO image, read-only, as a USB drive', collect, [])
    .option('--network <network>', "'user', 'network=NAME', 'bridge=NAME'", collect, [])
    .option(
      '--share <share>',
      `a folder of the host, ${shareUsage}: by virtiofs, or for a machine that is off by 9p where that cannot be had`,
      collect,
      [],
    )
    .option('--file <file>', "a device as XML, YAML or JSON; '-' for standard input", collect, [])
  addAffectFlags(command).action((domain: string, flags: Flags) => attach(context, domain, flags))
  addExamples(command, [
    ['visor attach web --disk 20GiB', 'a new disk, now'],
    ['visor attach web --network user --live --config', 'a card, now and at every start'],
    ['visor attach web --share /srv/data:data --config', 'a folder of the host, at the next start'],
    ['visor attach web --file usb-stick.xml --config', 'at the next start'],
  ])
}

async function attach(context: Context, domain: string, flags: Flags): Promise<void> {
  const specs = [
    ...flags.disk.map((text) => parseDisk(text)),
    ...flags.cdrom.map((file) => ({ ...parseDisk(file), device: 'cdrom', readonly: true }) as const),
  ]
  const others: DevicesInput[] = flags.network
    .flatMap((network) => buildInterface(network, true))
    .map((one) => ({ interfaces: [one] }))
  for (const file of flags.file) others.push(await readDevice(file))
  const shares = flags.share.map((text) => parseShare(text))
  if (specs.length + others.length + shares.length === 0)
    throw new VisorError('invalid-argument', 'No device was named.', {
      remedy: 'Name one: --disk, --cdrom, --network, --share or --file.',
    })
  await changeDomain(context, domain, {
    doing: 'Attaching to',
    flags,
    async run(call) {
      const names: string[] = []
      for (const spec of specs) names.push(await attachDisk(call, spec))
      for (const device of others) {
        await call.connection.domains.attachDevice(domain, { ...call.call, device })
        names.push(device.interfaces ? 'another network card' : nameDevice(device))
      }
      for (const spec of shares) {
        const shared = await withBestShares([spec], (filesystems) =>
          call.connection.domains.attachDevice(domain, { ...call.call, device: { filesystems } }),
        )
        names.push(spec.target)
        noteShares(context, [spec], shared)
      }
      return `has ${names.join(', ')}`
    },
  })
}

async function attachDisk(
  { connection, domain, call, definition }: ChangeCall,
  spec: DiskSpec,
): Promise<string> {
  const live = await definition()
  const next = call.live && call.config ? await connection.domains.describe(domain, { inactive: true }) : live
  const bus = spec.bus ?? (spec.device === 'cdrom' ? 'usb' : spec.device === 'floppy' ? 'fdc' : 'virtio')
  const target = freeTarget([live, next], { virtio: 'vd', ide: 'hd', fdc: 'fd' }[bus as 'virtio'] ?? 'sd')
  await withNewDisks(connection, `${live.name}-${target}`, [spec], call.signal, async ([disk]) => {
    const { sizeBytes: _, encrypt: __, ...rest } = disk ?? spec
    await connection.domains.attachDevice(domain, {
      ...call,
      device: { disks: [{ type: rest.volume === undefined ? 'file' : 'volume', ...rest, bus, target }] },
    })
  })
  return target
}

/** The first name of a disk that none of these has: vda to vdz, vdaa and so on. */
function freeTarget(definitions: readonly DomainDefinition[], prefix: string): string {
  const taken = new Set(definitions.flatMap(({ devices }) => devices.disks.map(({ target }) => target)))
  const letter = (index: number) => String.fromCharCode(97 + index)
  for (let index = 0; ; index++) {
    const word = index < 26 ? letter(index) : letter(Math.floor(index / 26) - 1) + letter(index % 26)
    if (!taken.has(prefix + word)) return prefix + word
  }
}

async function readDevice(file: string): Promise<DevicesInput> {
  const { text, format, name } = await loadText(file)
  try {
    return parseDevice(text, format)
  } catch (error) {
    throw inFile(error, name)
  }
}
