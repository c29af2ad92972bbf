import type { Command } from 'commander'
import type { Image } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import type { Colours } from '../output.ts'
import { formatSection, safe } from '../page.ts'
import { withProgress } from '../progress.ts'
import { formatTable } from '../table.ts'
import { formatAgo, formatBytes } from '../units.ts'

export function configure(command: Command, context: Context): void {
  command.description('Build, list, show and remove what machines boot from.')
  const build = command
    .command('build')
    .description("Make an image from the distribution's own packages; nothing is installed on the host.")
    .argument('<image>', "its name: 'micro' is a small Linux with a shell on the serial console")
    .option('--arch <arch>', 'for which processor: x86_64, i686; that of the host without')
    .option('--refresh', 'build it again though it is there')
    .action((name: string, flags: BuildFlags) => buildImage(context, name, flags))
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
  addExamples(build, [['visor image build micro --arch i686', 'for the embedded machine, v86']])
  addExamples(list, [['visor image list', 'what there is']])
  addExamples(show, [['visor image show micro', 'with the packages it was made of']])
  addExamples(remove, [['visor image remove micro', 'visor image build makes it again']])
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
    output.note("No images yet: 'visor image build micro' makes one.")
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
