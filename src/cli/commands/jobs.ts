import type { Command } from 'commander'
import { type Job, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { jobError } from '../job-error.ts'
import type { Colours, Output } from '../output.ts'
import { joinWords } from '../page.ts'
import { withProgress } from '../progress.ts'
import { formatTable } from '../table.ts'
import { formatAgo, formatBytes, parseDuration } from '../units.ts'

export function configure(command: Command, context: Context): void {
  command.description('Watch and cancel operations that take time.')
  const list = command
    .command('list', { isDefault: true })
    .description('List what is under way; with --all also what ended lately.')
    .option('-a, --all', 'also what ended lately')
    .action(({ all }: { all?: true }) => listJobs(context, all ?? false))
  const wait = command
    .command('wait')
    .description('Wait until a job has ended; fails as the job did.')
    .argument('<job>', 'its id')
    .option('-t, --timeout <time>', 'how long at most: 90, 5m')
    .action((job: string, { timeout }: { timeout?: string }) => waitFor(context, job, timeout))
  const cancel = command
    .command('cancel')
    .description('Give jobs up. They clean up after themselves.')
    .argument('<jobs...>', 'their ids')
    .action((jobs: string[]) => cancelJobs(context, jobs))
  addExamples(command, [['visor jobs', 'what is under way']])
  addExamples(list, [['visor jobs list --all', 'and what became of the others']])
  addExamples(wait, [['visor jobs wait 3f2a...', 'its exit code is that of the job']])
  addExamples(cancel, [['visor jobs cancel 3f2a...', 'stop a save or an image build']])
}

async function listJobs({ connected, output }: Context, all: boolean): Promise<void> {
  const { jobs, names } = await connected(async (connection) => {
    const [jobs, domains] = await Promise.all([connection.jobs.list(), connection.domains.list()])
    return { jobs, names: new Map(domains.map(({ uuid, name }) => [uuid, name])) }
  })
  const shown = all ? jobs : jobs.filter(({ endedAt }) => endedAt === undefined)
  output.print(shown, () => {
    if (output.quiet) return shown.map(({ id }) => `${id}\n`).join('')
    if (shown.length > 0) return formatJobs(shown, names, output)
    output.note(all ? 'No jobs.' : 'Nothing is under way.')
    return ''
  })
}

function formatJobs(
  jobs: readonly Job[],
  names: ReadonlyMap<string, string>,
  { colours, columns }: Output,
): string {
  return formatTable<Job>(
    [
      { title: 'job', value: ({ id }) => id },
      { title: 'operation', value: ({ operation }) => operation },
      { title: 'state', value: ({ state }) => state, style: (text, job) => colourJob(colours, text, job) },
      { title: 'asked for', value: ({ startedAt }) => formatAgo(startedAt) },
      {
        title: 'of',
        value: ({ target = '' }) => names.get(target) ?? target.replace(/^name:/u, ''),
        shrinkTo: 8,
      },
      { title: 'progress', value: describeProgress, shrinkTo: 8 },
    ],
    jobs,
    { width: columns, styleTitle: colours.dim },
  )
}

function describeProgress({ progress, error, endedAt }: Job): string {
  if (error) return (error as { message?: string }).message ?? 'failed'
  if (!progress || endedAt !== undefined) return ''
  const { phase, done, total, unit } = progress
  const part = done === undefined ? undefined : total ? `${Math.floor((100 * done) / total)} %` : undefined
  const amount = part ?? (done !== undefined && unit === 'bytes' ? formatBytes(done) : undefined)
  return joinWords([phase, amount], ' ')
}

function colourJob(colours: Colours, text: string, { state }: Job): string {
  if (state === 'done') return colours.green(text)
  if (state === 'failed') return colours.red(text)
  return state === 'running' ? colours.cyan(text) : colours.yellow(text)
}

async function waitFor(context: Context, id: string, timeout: string | undefined): Promise<void> {
  const { output, signal } = context
  const timeoutMs = timeout === undefined ? undefined : parseDuration(timeout, 'The timeout')
  const job = await context.connected((connection) =>
    withProgress(output, `Waiting for job ${id}`, signal, () =>
      connection.jobs.wait(id, { signal, ...(timeoutMs !== undefined && { timeoutMs }) }),
    ),
  )
  if (job.endedAt === undefined)
    throw new VisorError('timeout', `Job ${id} is still under way.`, { remedy: 'Wait longer, or cancel it.' })
  if (job.state !== 'done') throw jobError(job)
  output.print(job, () => '')
  output.note(`${output.noteColours.green('✓')} ${job.operation} is done`)
}

async function cancelJobs({ connected, output }: Context, ids: readonly string[]): Promise<void> {
  await connected(async (connection) => {
    for (const id of ids) {
      await connection.jobs.cancel(id)
      output.note(`${output.noteColours.green('✓')} job ${id} is given up`)
    }
  })
}
