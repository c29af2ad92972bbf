import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import type { CallOptions, CompleteConnection } from '../../driver/index.ts'
import { type BlockJob, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { withProgress } from '../progress.ts'
import { formatTable } from '../table.ts'
import { safeText } from '../text-width.ts'
import { formatBytes, parseSize } from '../units.ts'

interface SpeedFlag {
  readonly bandwidth?: string
}

export function configure(command: Command, context: Context): void {
  command.description('Move, join, copy and enlarge the disks of machines, also while they run.')
  const commit = disk(command, 'commit', 'Write the data of overlays down into what they are based on.')
    .option('--base <file>', 'the image that takes the data in; the lowest without')
    .option('--top <file>', 'the image whose data goes down; the one in use without')
    // What virsh has to be told is what is done here anyway.
    .addOption(new Option('--active').hideHelp())
    .addOption(new Option('--pivot').hideHelp())
    .option('--bandwidth <size>', 'limit in a second: 50MiB')
    .action((domain: string, target: string, flags: SpeedFlag & { base?: string; top?: string }) =>
      act(
        context,
        `Joining the images of ${target}`,
        `${target} of ${domain} is joined`,
        (connection, call) =>
          connection.blocks.commit(domain, {
            ...call,
            ...limit(flags),
            disk: target,
            ...(flags.base !== undefined && { base: resolve(flags.base) }),
            ...(flags.top !== undefined && { top: resolve(flags.top) }),
          }),
      ),
    )
  const pull = disk(command, 'pull', 'Copy what an image is based on into it, so that it stands alone.')
    .option('--base <file>', 'the image that stays below; none without')
    .option('--bandwidth <size>', 'limit in a second: 50MiB')
    .action((domain: string, target: string, flags: SpeedFlag & { base?: string }) =>
      act(
        context,
        `Pulling into ${target}`,
        `${target} of ${domain} has its data itself`,
        (connection, call) =>
          connection.blocks.pull(domain, {
            ...call,
            ...limit(flags),
            disk: target,
            ...(flags.base !== undefined && { base: resolve(flags.base) }),
          }),
      ),
    )
  const copy = disk(command, 'copy', 'Copy a disk while it is in use, and go on with the copy if asked.')
    .argument('<file>', "the copy, on the daemon's host")
    .option('--format <format>', 'raw or qcow2', 'qcow2')
    .option('--shallow', 'only what is in the topmost image')
    .option('--reuse', 'write to a file that is there')
    .option('--pivot', 'go on with the copy; without it the copy is of the moment it was whole')
    .option('--bandwidth <size>', 'limit in a second: 50MiB')
    .action((domain: string, target: string, file: string, flags: CopyFlags) => {
      const done = flags.pivot
        ? `${domain} goes on with ${file} as ${target}`
        : `${file} is a copy of ${target}`
      return act(context, `Copying ${target}`, done, (connection, call) =>
        connection.blocks.copy(domain, {
          ...call,
          ...limit(flags),
          disk: target,
          file: resolve(file),
          format: readFormat(flags.format),
          ...(flags.shallow && { shallow: true }),
          ...(flags.reuse && { reuse: true }),
          ...(flags.pivot && { pivot: true }),
        }),
      )
    })
  const resize = disk(command, 'resize', 'Make a disk larger; the guest sees it at once.')
    .argument('<size>', 'its new size: 20GiB')
    .action((domain: string, target: string, size: string) =>
      act(context, `Enlarging ${target}`, `${target} of ${domain} has ${size}`, (connection, call) =>
        connection.blocks.resize(domain, { ...call, disk: target, sizeBytes: parseSize(size, 'The size') }),
      ),
    )
  const jobs = command
    .command('jobs')
    .description('Show what is under way on the disks of a machine.')
    .argument('<domain>', 'name or uuid')
    .action((domain: string) => showJobs(context, domain))
  addExamples(command, [
    ['visor block copy web vda /pool/web.qcow2 --pivot', 'to another place, while it runs'],
  ])
  addExamples(commit, [['visor block commit web vda', 'all overlays into the lowest image']])
  addExamples(pull, [['visor block pull web vda', 'nothing is below it afterwards']])
  addExamples(copy, [['visor block copy web vda /pool/web.raw --format raw', 'a copy, of one moment']])
  addExamples(resize, [['visor block resize web vda 20GiB', 'never smaller']])
  addExamples(jobs, [['visor block jobs web', 'visor jobs cancels them']])
}

interface CopyFlags extends SpeedFlag {
  readonly format: string
  readonly shallow?: true
  readonly reuse?: true
  readonly pivot?: true
}

const disk = (command: Command, name: string, description: string) =>
  command
    .command(name)
    .description(description)
    .argument('<domain>', 'name or uuid')
    .argument('<disk>', 'its target name: vda')

const limit = ({ bandwidth }: SpeedFlag) =>
  bandwidth === undefined ? {} : { bandwidthBytes: parseSize(bandwidth, 'The bandwidth') }

function readFormat(format: string): 'raw' | 'qcow2' {
  if (format === 'raw' || format === 'qcow2') return format
  throw new VisorError('invalid-argument', `'${format}' is no format for a copy.`, {
    remedy: 'Use raw or qcow2.',
  })
}

async function act(
  { connected, output, signal }: Context,
  doing: string,
  done: string,
  run: (connection: CompleteConnection, call: CallOptions) => Promise<void>,
): Promise<void> {
  await connected((connection) => withProgress(output, doing, signal, (call) => run(connection, call)))
  output.note(`${output.noteColours.green('✓')} ${safeText(done)}`)
}

async function showJobs({ connected, output }: Context, domain: string): Promise<void> {
  const jobs = await connected((connection) => connection.blocks.jobs(domain))
  output.print(jobs, () => {
    if (jobs.length > 0)
      return formatTable<BlockJob>(
        [
          { title: 'disk', value: (job) => job.disk },
          { title: 'work', value: ({ type }) => type },
          { title: 'state', value: ({ state }) => state },
          {
            title: 'done',
            value: ({ doneBytes, totalBytes }) => `${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}`,
          },
        ],
        jobs,
        { width: output.columns, styleTitle: output.colours.dim },
      )
    output.note('Nothing is under way.')
    return ''
  })
}
