import type { Command } from 'commander'
import type { Disk } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { safe } from '../page.ts'
import { formatTable } from '../table.ts'

interface Flags {
  readonly inactive?: true
}

/** A disk as scripts want it: libvirt's words for what it is, and where its content is. */
interface DiskLine extends Pick<Disk, 'type' | 'device' | 'target' | 'bus' | 'format' | 'readonly'> {
  readonly source: string | undefined
}

export function configure(command: Command, context: Context): void {
  command
    .description('List the disks of a machine: what the guest calls them, and where they are.')
    .argument('<domain>', 'name or uuid')
    .option('--inactive', 'of its next start, not of the machine that runs')
    .action((domain: string, { inactive }: Flags) => listDisks(context, domain, inactive))
  addExamples(command, [
    ['visor domblklist web', 'the targets that other commands take: vda'],
    ['visor domblklist web -q', 'only the targets, for scripts'],
  ])
}

async function listDisks(
  { connected, output }: Context,
  domain: string,
  inactive: true | undefined,
): Promise<void> {
  const { devices } = await connected(({ domains }) => domains.describe(domain, inactive ? { inactive } : {}))
  const disks = devices.disks.map(lineOf)
  output.print(disks, () => {
    if (output.quiet) return disks.map(({ target }) => `${target}\n`).join('')
    if (disks.length === 0) output.note(`${safe(domain)} has no disks.`)
    if (disks.length === 0) return ''
    return formatTable<DiskLine>(
      [
        { title: 'target', value: ({ target }) => target, style: (text) => output.colours.bold(text) },
        { title: 'bus', value: ({ bus = '' }) => bus },
        { title: 'device', value: ({ device }) => device },
        { title: 'type', value: ({ type }) => type },
        { title: 'format', value: ({ format }) => format },
        { title: 'access', value: ({ readonly }) => (readonly ? 'read' : 'write') },
        { title: 'source', value: ({ source }) => safe(source) ?? '-', shrinkTo: 12 },
      ],
      disks,
      { width: output.columns, styleTitle: output.colours.dim },
    )
  })
}

function lineOf(disk: Disk): DiskLine {
  const { type, device, target, bus, format, readonly } = disk
  return { type, device, target, bus, format, readonly, source: sourceOf(disk) }
}

/** Undefined for a drive without a medium. */
function sourceOf({ type, file, block, directory, protocol, name, hosts, pool, volume, socket }: Disk) {
  if (type === 'volume') return `${pool}/${volume}`
  if (type === 'network') {
    const [host] = hosts
    const where = host?.socket ?? [host?.name ?? '', host?.port].filter((one) => one !== undefined).join(':')
    return `${protocol}://${where}/${name ?? ''}`
  }
  return file ?? block ?? directory ?? socket
}
