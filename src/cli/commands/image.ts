import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import type { Image, PublishedImage } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import type { Colours } from '../output.ts'
import { formatSection, safe } from '../page.ts'
import { withProgress } from '../progress.ts'
import { formatTable } from '../table.ts'
import { formatAgo, formatBytes } from '../units.ts'

export function configure(command: Command, context: Context): void {
  command.description('Fetch, build, list, show and remove what machines boot from.')
  const build = command
    .command('build')
    .description("Make an image from the distribution's own packages; nothing is installed on the host.")
    .argument('<image>', "its name: 'micro' is a small Linux with a shell on the serial console")
    .option('--arch <arch>', 'for which processor: x86_64, i686; that of the host without')
    .option('--refresh', 'build it again though it is there')
    .action((name: string, flags: BuildFlags) => buildImage(context, name, flags))
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
    .option('--refresh', 'fetch it again though it is there')
    .action((source: string, flags: PullFlags) => pullImage(context, source, flags))
  const available = command
    .command('available')
    .alias('remotes')
    .description('List the images of distributions that can be fetched by name.')
    .action(() => listPublished(context))
  const list = command
    .command('list', { isDefault: true })
    .description('List images.')
    .action(() => listImages(context))
  const show = command
    .command('show')
    .description('Show an image: its files and what it was made of.')
    .argument('<image>', 'its name')
    .action((name: string) => showImage(context, name))
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
    ['visor image import /srv/os.raw --name golden', 'a file of the host'],
  ])
  addExamples(available, [['visor image available', 'names for visor image pull and visor create --image']])
  addExamples(build, [['visor image build micro --arch i686', 'for the embedded machine, v86']])
  addExamples(list, [['visor image list', 'what there is']])
  addExamples(show, [['visor image show micro', 'with the packages it was made of']])
  addExamples(remove, [['visor image remove micro', 'visor image build makes it again']])
}

interface PullFlags {
  readonly name?: string
  readonly arch?: string
  readonly checksum?: string
  readonly format?: 'qcow2' | 'raw'
  readonly refresh?: true
}

async function pullImage(
  { output, signal, connected }: Context,
  given: string,
  flags: PullFlags,
): Promise<void> {
  // A file is named from where the user is.
  const isFile = /^\.{0,2}\//u.test(given) || (/\.(?:qcow2|raw|img)$/u.test(given) && existsSync(given))
  const source = isFile ? resolve(given) : given
  const started = Date.now()
  const image = await connected((connection) =>
    withProgress(output, `Fetching ${given}`, signal, (call) =>
      connection.images.pull({ ...call, ...flags, source }),
    ),
  )
  const cached = Date.parse(image.createdAt) < started
  output.print(image, () => '')
  const done = cached ? 'was there already' : 'is there'
  output.note(
    `${output.noteColours.green('✓')} image ${image.name} (${image.arch}, ${formatBytes(image.sizeBytes)}) ${done}`,
  )
}

async function listPublished({ connected, output }: Context): Promise<void> {
  const images = await connected((connection) => connection.images.published())
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
          ],
          images,
          { width: columns, styleTitle: colours.dim },
        ),
  )
}

interface BuildFlags {
  readonly arch?: string
  readonly refresh?: true
}

async function buildImage(context: Context, name: string, { arch, refresh }: BuildFlags): Promise<void> {
  const { output, signal, connected } = context
  const options = { ...(arch !== undefined && { arch }), ...(refresh && { refresh }) }
  const started = Date.now()
  const image = await connected((connection) =>
    withProgress(output, `Building ${name}`, signal, (call) =>
      connection.images.build(name, { ...call, ...options }),
    ),
  )
  const cached = Date.parse(image.createdAt) < started
  output.print(image, () => '')
  const size = formatBytes(image.sizeBytes)
  const done = cached ? 'was there already' : 'is built'
  output.note(`${output.noteColours.green('✓')} image ${image.name} (${image.arch}, ${size}) ${done}`)
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
      ['made', `${formatAgo(image.createdAt)} ${colours.dim(`(${image.createdAt})`)}`],
      ['kernel', safe(image.kernel)],
      ['initrd', safe(image.initrd)],
      ['arguments', safe(image.commandLine)],
      ['title', safe(image.title)],
      ['from', safe(image.url)],
      ['disk', image.disk && `${safe(image.disk)} (${image.format ?? 'raw'})`],
      ['sha256', image.sha256],
    ]),
    formatSection(colours, 'Made of', sources),
  ]
    .filter((section) => section !== '')
    .join('\n')
}

async function removeImages({ connected, output, signal }: Context, names: readonly string[]): Promise<void> {
  await connected(async (connection) => {
    for (const name of names) {
      await connection.images.remove(name, { signal })
      output.note(`${output.noteColours.green('✓')} image ${name} is removed`)
    }
  })
}
