import { type Command, Option } from 'commander'
import type { Volume } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { newFormats } from '../disk-spec.ts'
import { addExamples } from '../help.ts'
import { formatSection, safe } from '../page.ts'
import { formatTable } from '../table.ts'
import { formatAgo, formatBytes, parseSize } from '../units.ts'

export function configure(command: Command, context: Context): void {
  command.description('Make, list and remove the disks that visor keeps for machines.')
  const list = command
    .command('list', { isDefault: true })
    .description('List them, with their size on the host.')
    .action(() => listVolumes(context))
  const create = command
    .command('create')
    .description('Make an empty disk.')
    .argument('<name>', 'its name')
    .argument('<size>', 'size the guest sees: 20GiB')
    .addOption(new Option('--format <format>', 'image format').choices(newFormats).default('qcow2'))
    .action((name: string, size: string, { format }: { format: string }) =>
      createVolume(context, name, size, format),
    )
  const show = command
    .command('show')
    .description('Show a disk.')
    .argument('<volume>', 'its name')
    .action((name: string) => showVolume(context, name))
  const remove = command
    .command('remove')
    .alias('rm')
    .description('Remove disks and what is on them. Refused while the definition of a machine names them.')
    .argument('<volumes...>', 'their names')
    .option('-f, --force', 'also when a machine has it')
    .action((names: string[], { force }: { force?: true }) => removeVolumes(context, names, force ?? false))
  addExamples(command, [['visor volume list', 'what there is']])
  addExamples(list, [['visor volume list', 'what there is']])
  addExamples(create, [['visor volume create data 20GiB', 'data.qcow2; it grows as it is written']])
  addExamples(show, [['visor volume show data.qcow2', 'where it is']])
  addExamples(remove, [['visor volume remove data.qcow2', 'gone for good']])
}

async function listVolumes({ connected, output }: Context): Promise<void> {
  const volumes = await connected((connection) => connection.volumes.list())
  const { colours, columns } = output
  output.print(volumes, () => {
    if (output.quiet) return volumes.map(({ name }) => `${name}\n`).join('')
    if (volumes.length === 0) output.note("No volumes: 'visor create NAME --disk 20GiB' makes one.")
    if (volumes.length === 0) return ''
    return formatTable<Volume>(
      [
        { title: 'name', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 10 },
        { title: 'size', value: ({ capacityBytes }) => formatBytes(capacityBytes), align: 'right' },
        { title: 'on host', value: ({ allocationBytes }) => formatBytes(allocationBytes), align: 'right' },
        { title: 'made', value: ({ createdAt }) => formatAgo(createdAt) },
        { title: 'file', value: ({ path }) => path, style: (text) => colours.dim(text), shrinkTo: 10 },
      ],
      volumes,
      { width: columns, styleTitle: colours.dim },
    )
  })
}

async function createVolume(
  { connected, output, signal }: Context,
  name: string,
  size: string,
  format: string,
) {
  const sizeBytes = parseSize(size, 'The size')
  const whole = /\.(qcow2|raw)$/u.test(name) ? name : `${name}.${format}`
  const volume = await connected((connection) => connection.volumes.create(whole, { sizeBytes, signal }))
  output.print(volume, () => `${volume.path}\n`)
  output.note(`${output.noteColours.green('✓')} ${whole} made, ${formatBytes(volume.capacityBytes)}`)
}

async function showVolume({ connected, output }: Context, name: string): Promise<void> {
  const volume = await connected((connection) => connection.volumes.get(name))
  const { colours } = output
  output.print(volume, () =>
    [
      `${colours.bold(safe(volume.name) ?? '')}  ${volume.format}\n`,
      formatSection(colours, '', [
        ['size', formatBytes(volume.capacityBytes)],
        ['on host', formatBytes(volume.allocationBytes)],
        ['made', `${formatAgo(volume.createdAt)} ${colours.dim(`(${volume.createdAt})`)}`],
        ['file', safe(volume.path)],
      ]),
    ].join(''),
  )
}

async function removeVolumes(context: Context, names: readonly string[], force: boolean): Promise<void> {
  const { connected, output, signal } = context
  await connected(async ({ volumes }) => {
    for (const name of names) {
      await volumes.remove(name, { force, signal })
      output.note(`${output.noteColours.green('✓')} volume ${name} is removed`)
    }
  })
}
