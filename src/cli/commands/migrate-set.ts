import type { Command } from 'commander'
import { VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { safeText } from '../text-width.ts'
import { parseDuration } from '../units.ts'

interface Flags {
  readonly bandwidth?: string
  readonly downtime?: string
  readonly postcopy?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description('Change a migration that is under way. To give it up: visor jobs cancel.')
    .argument('<domain>', 'name or uuid')
    .option('--bandwidth <mib>', 'most to send in a second, MiB')
    .option('--downtime <time>', 'how long it may stand still: 500ms')
    .option('--postcopy', 'run it at the other host now; of a migration begun with --postcopy')
    .action((domain: string, flags: Flags) => adjust(context, domain, flags))
  addExamples(command, [
    ['visor migrate-set web --bandwidth 200', 'faster'],
    ['visor migrate-set web --postcopy', 'switch over now'],
  ])
}

async function adjust({ connected, output }: Context, domain: string, flags: Flags): Promise<void> {
  const { bandwidth, downtime, postcopy } = flags
  if (bandwidth === undefined && downtime === undefined && !postcopy)
    throw new VisorError('invalid-argument', 'Nothing to change was given.', {
      remedy: 'Give --bandwidth, --downtime or --postcopy.',
    })
  if (bandwidth !== undefined && !/^\d{1,7}$/u.test(bandwidth))
    throw new VisorError('invalid-argument', `The bandwidth is a number of MiB, not '${bandwidth}'.`)
  await connected(async ({ domains }) => {
    await domains.adjustMigration(domain, {
      ...(bandwidth === undefined ? {} : { bandwidthMiBps: Number(bandwidth) }),
      ...(downtime === undefined ? {} : { maxDowntimeMs: parseDuration(downtime, 'The downtime') }),
      ...(postcopy ? { postcopy } : {}),
    })
    output.note(`${output.noteColours.green('✓')} the migration of ${safeText(domain)} is changed`)
  })
}
