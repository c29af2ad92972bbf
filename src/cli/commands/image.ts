import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { type DownloadFormat, downloadFormats } from '../../driver/index.ts'
import type { Image, ImagePruning, PublishedImage } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { configureBuild } from '../images/build.ts'
import type { Colours } from '../output.ts'
import { formatSection, safe } from '../page.ts'
import { withProgress } from '../progress.ts'
import { formatTable } from '../table.ts'
import { formatAgo, formatBytes, parseAge } from '../units.ts'
import { parseChecksum, receiveFile, standardStream } from '../volume-transfer.ts'
import { parseVolumeName } from '../volumes.ts'

export function configure(command: Command, context: Context): void {
  command.description('Fetch, build, publish, list, show, export and remove what machines boot from.')
  configureBuild(command.command('build'), context)
  const pull = command
    .command('pull')
    .alias('import')
    .description(
      'Fetch a disk image: of a distribution, of a server, or a file of the host. Goes on where it broke off.',
    )
    .argument('<source>', "its name ('visor image available' lists them), address, or file")
    .option('--name <name>', 'its name here')
    .option('--arch <arch>', 'for which processor; that of the host without')
    .option('--checksum <digest>', 'sha256:... or sha512:... that it must have')
    .addOption(
      new Option('--format <format>', 'of a file whose name does not say it').choices(['qcow2', 'raw']),
    )
    .option('--container', 'of a server: the root file system of a container, not the disk of a machine')
    .option('--refresh', 'fetch it again though it is there')
    .action((source: string, flags: PullFlags) => pullImage(context, source, flags))
  const available = command
    .command('available')
    .alias('remotes')
    .description('List the images that can be fetched by name: of distributions, or of a server.')
    .argument('[server]', 'a server, such as images')
    .action((server: string | undefined) => listPublished(context, server))
  const list = command
    .command('list', { isDefault: true })
    .description('List images.')
    .action(() => listImages(context))
  const show = command
    .command('show')
    .description('Show an image: its files, what it was made of, and who is based on it.')
    .argument('<image>', 'its name')
    .action((name: string) => showImage(context, name))
  const save = command
    .command('export')
    .description('Save the disk of an image to a file. Goes on where it broke off.')
    .argument('<image>', 'its name')
    .argument('<file>', "of this machine; '-' is the standard output")
    .addOption(new Option('--format <format>', 'convert it').choices(downloadFormats))
    .option('--checksum [digest]', 'verify it: sha256:..., or what the server says')
    .option('--force', 'replace the file')
    .action((name: string, file: string, flags: ExportFlags) => exportImage(context, name, file, flags))
  const publish = command
    .command('publish')
    .description('Make an image of a disk: of a machine that is off, or of a volume. It is based on nothing.')
    .argument('[domain]', 'a machine')
    .requiredOption('--name <name>', 'name of the image')
    .option('--volume <volume>', 'a volume, in place of a machine')
    .option('--disk <target>', "which of the machine's disks; the first without")
    .option('--title <text>', 'one line about it')
    .option('--arch <arch>', 'for which processor')
    .option('--compress', 'smaller, and slower to make')
    .option('--replace', 'in place of an image of this name')
    .action((domain: string | undefined, flags: PublishFlags) => publishImage(context, domain, flags))
  const prune = command
    .command('prune')
    .description(
      'Remove what nobody uses: downloads that were given up, and what copies of former images were based on.',
    )
    .option('--older-than <time>', 'also images that nobody uses, and nothing was made of for so long: 30d')
    .option('--dry-run', 'only tell what and how much')
    .action((flags: PruneFlags) => pruneImages(context, flags))
  const remove = command
    .command('remove')
    .alias('rm')
    .description('Remove images. Machines that boot from them no longer start.')
    .argument('<images...>', 'their names')
    .action((names: string[]) => removeImages(context, names))
  addExamples(command, [
    ['visor image build micro', 'a small Linux with a shell; visor create --image micro boots it'],
  ])
  addExamples(pull, [
    ['visor image pull debian-12', 'from the distribution, with the digest that it publishes'],
    ['visor image pull https://example.org/os.qcow2 --checksum sha256:...', 'from any server'],
    ['visor image pull images:debian/12', 'of a server that lists what it has; --container for LXC'],
    ['visor image import /srv/os.raw --name golden', 'a file of the host'],
  ])
  addExamples(available, [
    ['visor image available', 'names for visor image pull and visor create --image'],
    ['visor image available images', 'all that the server images has'],
  ])
  addExamples(list, [['visor image list', 'what there is']])
  addExamples(show, [['visor image show micro', 'with the packages it was made of']])
  addExamples(save, [
    ['visor image export golden golden.qcow2', 'as it lies'],
    ['visor image export golden golden.vmdk --format vmdk', 'for another hypervisor'],
    ['visor image export golden - --format raw | xz > golden.raw.xz', 'to a program'],
  ])
  addExamples(publish, [
    ['visor image publish web --name golden', 'of a machine that is off'],
    ['visor image publish --volume fast/db.raw --name db --compress', 'of a volume of the pool fast'],
  ])
  addExamples(prune, [
    ['visor image prune --dry-run', 'what would go'],
    ['visor image prune --older-than 30d', 'also images that nobody needed for a month'],
  ])
  addExamples(remove, [['visor image remove micro', 'visor image build makes it again']])
}

interface PullFlags {
  readonly name?: string
  readonly arch?: string
  readonly checksum?: string
  readonly format?: 'qcow2' | 'raw'
  readonly container?: true
  readonly refresh?: true
}

async function pullImage(
  { output, signal, connected }: Context,
  given: string,
  { container, ...flags }: PullFlags,
): Promise<void> {
  // A file is named from where the user is.
  const isFile = /^\.{0,2}\//u.test(given) || (/\.(?:qcow2|raw|img)$/u.test(given) && existsSync(given))
  const source = isFile ? resolve(given) : given
  const started = Date.now()
  const image = await connected((connection) =>
    withProgress(output, `Fetching ${given}`, signal, (call) =>
      connection.images.pull({ ...call, ...flags, source, ...(container && { kind: 'container' }) }),
    ),
  )
  const cached = Date.parse(image.createdAt) < started
  output.print(image, () => '')
  const done = cached ? 'was there already' : 'is there'
  output.note(
    `${output.noteColours.green('✓')} image ${image.name} (${image.arch}, ${formatBytes(image.sizeBytes)}) ${done}`,
  )
}

async function listPublished(
  { connected, output, signal }: Context,
  server: string | undefined,
): Promise<void> {
  const { images, servers } = await connected(async (connection) => ({
    images: await connection.images.published({ signal, ...(server !== undefined && { server }) }),
    servers: server === undefined ? await connection.images.servers() : [],
  }))
  const { colours, columns } = output
  output.print(images, () =>
    output.quiet
      ? images.map(({ name }) => `${name}\n`).join('')
      : formatTable<PublishedImage>(
          [
            { title: 'name', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 8 },
            { title: 'what it is', value: ({ title }) => title },
            { title: 'also named', value: ({ aliases }) => aliases.join(', '), shrinkTo: 8 },
            { title: 'for', value: ({ arches }) => arches.join(', ') },
            ...(server === undefined
              ? []
              : [{ title: 'kinds', value: ({ kinds }: PublishedImage) => kinds.join(', ') }]),
          ],
          images,
          { width: columns, styleTitle: colours.dim },
        ),
  )
  for (const { name, title } of servers)
    output.note(`More: visor image available ${name} (${title}), pulled as ${name}:NAME`)
}

async function listImages({ connected, output }: Context): Promise<void> {
  const images = await connected((connection) => connection.images.list())
  output.print(images, () => {
    if (output.quiet) return images.map(({ name }) => `${name}\n`).join('')
    if (images.length > 0) return formatImages(images, output.colours, output.columns)
    output.note(
      "No images yet: 'visor image pull debian-12' fetches one, 'visor image build micro' makes a small one.",
    )
    return ''
  })
}

function formatImages(images: readonly Image[], colours: Colours, width: number | undefined): string {
  return formatTable<Image>(
    [
      { title: 'name', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 8 },
      { title: 'arch', value: ({ arch }) => arch },
      { title: 'kind', value: ({ kind }) => kind },
      { title: 'size', value: ({ sizeBytes }) => formatBytes(sizeBytes), align: 'right' },
      { title: 'made', value: ({ createdAt }) => formatAgo(createdAt) },
      { title: 'digest', value: ({ sha256 }) => sha256.slice(0, 12), style: (text) => colours.dim(text) },
    ],
    images,
    { width, styleTitle: colours.dim },
  )
}

async function showImage({ connected, output }: Context, name: string): Promise<void> {
  const image = await connected((connection) => connection.images.get(name))
  output.print(image, () => formatImagePage(image, output.colours))
}

function formatImagePage(image: Image, colours: Colours): string {
  const sources = image.sources.map(
    ({ package: name, version, arch }) => [name, `${version} (${arch})`] as const,
  )
  return [
    `${colours.bold(image.name)}  ${image.arch} ${image.kind}\n`,
    formatSection(colours, '', [
      ['size', formatBytes(image.sizeBytes)],
      ['guests see', image.virtualSizeBytes === undefined ? undefined : formatBytes(image.virtualSizeBytes)],
      ['made', `${formatAgo(image.createdAt)} ${colours.dim(`(${image.createdAt})`)}`],
      ['last used', image.lastUsedAt === undefined ? undefined : formatAgo(image.lastUsedAt)],
      ['kernel', safe(image.kernel)],
      ['initrd', safe(image.initrd)],
      ['arguments', safe(image.commandLine)],
      ['title', safe(image.title)],
      ['from', safe(image.url)],
      ['root', image.rootfs && `${safe(image.rootfs)} (${image.format ?? ''})`],
      ['disk', image.disk && `${safe(image.disk)} (${image.format ?? 'raw'})`],
      ['sha256', image.sha256],
      ['signed by', safe(image.signedBy)],
    ]),
    formatSection(
      colours,
      'Used by',
      (image.usedBy ?? []).map(({ kind, name }) => [kind, safe(name)] as const),
    ),
    formatSection(colours, 'Made of', sources),
  ]
    .filter((section) => section !== '')
    .join('\n')
}

interface ExportFlags {
  readonly format?: DownloadFormat
  readonly checksum?: string | true
  readonly force?: true
}

async function exportImage(
  { connected, output, signal }: Context,
  name: string,
  file: string,
  { checksum, ...flags }: ExportFlags,
): Promise<void> {
  const digest = parseChecksum(checksum)
  const got = await connected((connection) =>
    withProgress(output, `Exporting ${name}`, signal, (call) =>
      receiveFile(
        { volumes: { download: (_, image, options) => connection.images.export(image, options) } },
        { pool: '', name },
        file,
        { ...flags, ...call, checksum: digest },
      ),
    ),
  )
  if (file !== standardStream) output.print({ file, ...got }, () => '')
  output.note(
    `${output.noteColours.green('✓')} image ${name} exported to ${file === standardStream ? 'the standard output' : file}, ${formatBytes(got.bytes)}`,
  )
}

interface PublishFlags {
  readonly name: string
  readonly volume?: string
  readonly disk?: string
  readonly title?: string
  readonly arch?: string
  readonly compress?: true
  readonly replace?: true
}

async function publishImage(
  { connected, output, signal }: Context,
  domain: string | undefined,
  { volume, ...flags }: PublishFlags,
): Promise<void> {
  const place = volume === undefined ? undefined : parseVolumeName(volume)
  const image = await connected((connection) =>
    withProgress(output, `Making ${flags.name}`, signal, (call) =>
      connection.images.publish({
        ...{ ...call, ...flags },
        ...(domain !== undefined && { domain }),
        ...(place && { pool: place.pool, volume: place.name }),
      }),
    ),
  )
  output.print(image, () => '')
  output.note(
    `${output.noteColours.green('✓')} image ${image.name} (${image.arch}, ${formatBytes(image.sizeBytes)}) is made`,
  )
}

interface PruneFlags {
  readonly olderThan?: string
  readonly dryRun?: true
}

async function pruneImages(
  { connected, output, signal }: Context,
  { olderThan, dryRun }: PruneFlags,
): Promise<void> {
  const age = olderThan === undefined ? undefined : parseAge(olderThan, 'The age')
  const options = {
    ...(age !== undefined && { olderThanSeconds: age }),
    ...(dryRun && { dryRun }),
  }
  const pruned = await connected((connection) => connection.images.prune({ ...options, signal }))
  output.print(pruned, () => formatPruning(pruned, output.colours, output.columns))
  const freed = formatBytes(pruned.freedBytes)
  output.note(
    dryRun
      ? `${pruned.items.length} would be removed, ${freed} would become free`
      : `${output.noteColours.green('✓')} ${pruned.items.length} removed, ${freed} became free`,
  )
}

function formatPruning({ items }: ImagePruning, colours: Colours, width: number | undefined): string {
  if (items.length === 0) return ''
  return formatTable<ImagePruning['items'][number]>(
    [
      { title: 'what', value: ({ kind }) => kind },
      { title: 'name', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 16 },
      { title: 'size', value: ({ sizeBytes }) => formatBytes(sizeBytes), align: 'right' },
      { title: 'why', value: ({ reason }) => reason, shrinkTo: 12 },
    ],
    items,
    { width, styleTitle: colours.dim },
  )
}

async function removeImages({ connected, output, signal }: Context, names: readonly string[]): Promise<void> {
  await connected(async (connection) => {
    for (const name of names) {
      await connection.images.remove(name, { signal })
      output.note(`${output.noteColours.green('✓')} image ${name} is removed`)
    }
  })
}
