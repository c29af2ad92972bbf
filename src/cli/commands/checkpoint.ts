import type { Command } from 'commander'
import { checkpointRequest } from '../../driver/index.ts'
import { type Checkpoint, formatCheckpoint, parseCheckpoint } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { loadAs } from '../documents.ts'
import { addExamples } from '../help.ts'
import { formatTable } from '../table.ts'
import { safeText } from '../text-width.ts'
import { formatAgo, formatBytes } from '../units.ts'

export function configure(command: Command, context: Context): void {
  command.description('Points in time that incremental backups begin from.')
  const create = command
    .command('create')
    .description('Begin to remember what is written to the disks of a machine.')
    .argument('<domain>', 'name or uuid')
    .argument('[name]', 'of the checkpoint; made from the time without')
    .option('-d, --description <text>', 'any text about it')
    .option(
      '--disk <target>',
      'only this disk; repeat for more',
      (value: string, before: string[]) => [...before, value],
      [],
    )
    .action((domain: string, name: string | undefined, flags: CreateFlags) =>
      createCheckpoint(context, domain, name, flags),
    )
  create.option('--xml <file>', "as libvirt's XML (or YAML, JSON) describes it; '-' is standard input")
  command
    .command('create-from', { hidden: true })
    .description('Make a checkpoint as a file describes it.')
    .argument('<domain>', 'name or uuid')
    .argument('[file]', "libvirt's XML, YAML or JSON; '-' is standard input")
    .action((domain: string, file: string | undefined) =>
      createCheckpoint(context, domain, undefined, { disk: [], ...(file !== undefined && { xml: file }) }),
    )
  command
    .command('show')
    .description('Show a checkpoint as it is described.')
    .argument('<domain>', 'name or uuid')
    .argument('<name>', 'of the checkpoint')
    .option('--xml', "as libvirt's XML rather than YAML")
    .action((domain: string, name: string, { xml }: { xml?: true }) =>
      showCheckpoint(context, domain, name, xml ? 'xml' : 'yaml'),
    )
  const list = command
    .command('list')
    .description('List the checkpoints of a machine.')
    .argument('<domain>', 'name or uuid')
    .action((domain: string) => listCheckpoints(context, domain))
  const remove = command
    .command('remove')
    .alias('rm')
    .alias('delete')
    .description('Remove checkpoints.')
    .argument('<domain>', 'name or uuid')
    .argument('<names...>', 'of the checkpoints')
    .action((domain: string, names: string[]) => removeCheckpoints(context, domain, names))
  addExamples(command, [['visor checkpoint create web monday', 'visor backup web --since monday']])
  addExamples(create, [['visor checkpoint create web', 'its name is the time']])
  addExamples(list, [['visor checkpoint list web', 'with what was written since']])
  addExamples(remove, [['visor checkpoint remove web monday', 'what was written since is forgotten']])
}

interface CreateFlags {
  readonly description?: string
  readonly disk: readonly string[]
  readonly xml?: string
}

async function createCheckpoint(
  { connected, output, signal }: Context,
  domain: string,
  name: string | undefined,
  { description, disk, xml }: CreateFlags,
): Promise<void> {
  const wanted = xml === undefined ? undefined : await loadAs(xml, parseCheckpoint)
  const made = await connected(async (connection) =>
    connection.checkpoints.create(domain, {
      signal,
      ...(wanted && checkpointRequest(wanted, await connection.domains.describe(domain))),
      ...(name !== undefined && { name }),
      ...(description !== undefined && { description }),
      ...(disk.length > 0 && { disks: disk }),
    }),
  )
  output.print(made, () => (output.quiet ? `${made.name}\n` : ''))
  output.note(`${output.noteColours.green('✓')} checkpoint ${made.name} of ${safeText(domain)} is made`)
}

async function showCheckpoint(
  { connected, output }: Context,
  domain: string,
  name: string,
  format: 'xml' | 'yaml',
): Promise<void> {
  const found = await connected((connection) => connection.checkpoints.describe(domain, name))
  output.print(found, () => formatCheckpoint(found, format))
}

async function listCheckpoints({ connected, output }: Context, domain: string): Promise<void> {
  const checkpoints = await connected((connection) => connection.checkpoints.list(domain))
  output.print(checkpoints, () => {
    if (output.quiet) return checkpoints.map(({ name }) => `${name}\n`).join('')
    if (checkpoints.length > 0)
      return formatTable<Checkpoint>(
        [
          { title: 'name', value: ({ name }) => name, style: (text) => output.colours.bold(text) },
          { title: 'made', value: ({ createdAt }) => formatAgo(createdAt) },
          { title: 'disks', value: ({ disks }) => disks.map(({ name }) => name).join(', ') },
          { title: 'written since', value: writtenSince, align: 'right' },
        ],
        checkpoints,
        { width: output.columns, styleTitle: output.colours.dim },
      )
    output.note(`No checkpoints: 'visor checkpoint create ${domain}' makes one.`)
    return ''
  })
}

function writtenSince({ disks }: Checkpoint): string {
  const known = disks.flatMap(({ dirtyBytes }) => dirtyBytes ?? [])
  return known.length === disks.length ? formatBytes(known.reduce((sum, one) => sum + one, 0)) : '?'
}

async function removeCheckpoints(
  { connected, output, signal }: Context,
  domain: string,
  names: readonly string[],
): Promise<void> {
  await connected(async (connection) => {
    for (const name of names) {
      await connection.checkpoints.remove(domain, name, { signal })
      output.note(`${output.noteColours.green('✓')} checkpoint ${safeText(name)} is removed`)
    }
  })
}
