/** `visor image build`. */
import { type Command, Option } from 'commander'
import { VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { withProgress } from '../progress.ts'
import { formatBytes, parseSize } from '../units.ts'

const collect = (value: string, before: readonly string[] = []) => [...before, value]

interface BuildFlags {
  readonly name?: string
  readonly arch?: string
  readonly architecture?: string
  readonly package?: readonly string[]
  readonly size?: string
  readonly format?: 'qcow2' | 'raw'
  readonly mirror?: string
  readonly securityMirror?: string
  readonly refresh?: true
}

export function configureBuild(command: Command, context: Context): void {
  command
    .description("Make an image from a distribution's own packages; nothing is installed on the host.")
    .argument(
      '<image>',
      "a small Linux with a shell on the serial console: 'micro'; or a disk that boots by itself: debian-11, debian-12, debian-13",
    )
    .option('--name <name>', 'of a disk: its name here; else that of the release and -built')
    .option('--arch <arch>', 'for which processor: x86_64, i686; that of the host without')
    .addOption(new Option('--architecture <arch>', 'the same').hideHelp())
    .option('--package <name>', 'of a disk: a further package; repeatable', collect)
    .option('--size <size>', 'of a disk: how large, such as 4GiB; else as large as its packages need')
    .addOption(new Option('--format <format>', 'of a disk; qcow2 without').choices(['qcow2', 'raw']))
    .option('--mirror <url>', "of a disk: another address of the distribution's archive")
    .option('--security-mirror <url>', 'of a disk: another address of the security updates')
    .option('--refresh', 'build it again, of the packages that there are now')
    .action((name: string, flags: BuildFlags) => buildImage(context, name, flags))
  addExamples(command, [
    ['visor image build debian-12', 'then: visor create web --image debian-12-built --disk 20GiB'],
    ['visor image build debian-12 --package nginx --name nginx', 'with a package more'],
    [
      'SOURCE_DATE_EPOCH=1700000000 visor image build debian-12',
      'times of its files; the same bytes each time',
    ],
    ['visor image build micro --arch i686', 'for the embedded machine, v86'],
  ])
}

async function buildImage(context: Context, name: string, flags: BuildFlags): Promise<void> {
  const { output, signal, connected } = context
  const { package: packages, size, architecture, ...given } = flags
  const epoch = name.startsWith('micro') ? undefined : readEpoch(process.env.SOURCE_DATE_EPOCH)
  const options = {
    ...(architecture !== undefined && { arch: architecture }),
    ...given,
    ...(packages && { packages }),
    ...(size !== undefined && { sizeBytes: parseSize(size, '--size') }),
    ...(epoch !== undefined && { epoch }),
  }
  const started = Date.now()
  const image = await connected((connection) =>
    withProgress(output, `Building ${name}`, signal, (call) =>
      connection.images.build(name, { ...call, ...options }),
    ),
  )
  const cached = Date.parse(image.createdAt) < started
  output.print(image, () => '')
  const done = cached ? 'was there already' : 'is built'
  output.note(
    `${output.noteColours.green('✓')} image ${image.name} (${image.arch}, ${formatBytes(image.sizeBytes)}) ${done}`,
  )
}

/** Source: reproducible-builds.org, SOURCE_DATE_EPOCH specification. */
function readEpoch(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined
  if (/^\d{1,10}$/u.test(text)) return Number(text)
  throw new VisorError('invalid-argument', `SOURCE_DATE_EPOCH is '${text}', which is no number of seconds.`)
}
