import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { withProgress } from '../progress.ts'

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Say what this host can do, what is missing and what to do about it. Needs no daemon, changes nothing.',
    )
    .option('--strict', 'exit code 1 also for warnings, not only for failures')
    .action(({ strict }: { strict?: true }) => examine(context, strict ?? false))
  addExamples(command, [
    ['visor doctor', 'in words'],
    ["visor doctor --json | jq -r '.status'", 'pass, warn or fail'],
  ])
}

async function examine({ output, signal, directories, failWith }: Context, strict: boolean): Promise<void> {
  const { diagnose, formatDiagnosis } = await import('../../doctor/index.ts')
  const diagnosis = await withProgress(output, 'Examining this host', signal, () =>
    diagnose({ signal, directories }),
  )
  output.print(diagnosis, () =>
    output.quiet
      ? `${diagnosis.status}\n`
      : formatDiagnosis(diagnosis, {
          color: output.colours.isColorSupported,
          width: Math.min(output.columns ?? 100, 120),
        }),
  )
  if (diagnosis.status === 'fail' || (strict && diagnosis.status === 'warn')) failWith(1)
}
