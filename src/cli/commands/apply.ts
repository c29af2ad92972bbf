import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import type { CompleteConnection } from '../../driver/index.ts'
import { type Domain, VisorError } from '../../model/index.ts'
import { applyChange, type PlannedChange, planChanges } from '../apply-plan.ts'
import { type Context, checkCancelled } from '../context.ts'
import { loadDocuments } from '../documents.ts'
import { addExamples } from '../help.ts'
import { formatDiff } from '../line-diff.ts'
import type { Colours } from '../output.ts'
import { joinWords } from '../page.ts'
import { reportError } from '../report-error.ts'
import { safeText } from '../text-width.ts'

interface ApplyFlags {
  readonly file: readonly string[]
  readonly dryRun?: true
  readonly yes?: true
  readonly start?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Make machines as files say: shows the differences, then creates and changes only what differs.',
    )
    .argument('[files...]', "XML, YAML (several documents too) or JSON files, directories of them, '-'")
    .option('-f, --file <file...>', 'the same')
    .option('--dry-run', 'only show the differences')
    .option('-y, --yes', 'do not ask, on a terminal')
    .option('--start', 'start those that are new')
    .action((files: string[], flags: ApplyFlags) => apply(context, files, flags))
  addExamples(command, [
    ['visor apply -f web.yaml', 'again and again: the second time nothing differs'],
    ['visor apply -f machines/ --dry-run', 'what a directory of files would change'],
    ["visor show web --yaml | sed 's/^vcpus: .*/vcpus: 2/' | visor apply --yes -", 'change one line'],
  ])
}

async function apply(context: Context, files: readonly string[], flags: ApplyFlags): Promise<void> {
  const paths = [...files, ...(flags.file ?? [])]
  if (paths.length === 0)
    throw new VisorError('invalid-argument', 'No file was named.', {
      remedy: 'Name one: visor apply -f FILE',
    })
  const documents = await loadDocuments(paths)
  const { output } = context
  await context.connected(async (connection) => {
    const plan = await planChanges(connection, documents)
    if (!output.json && !output.quiet) output.write(formatPlan(plan, output.colours))
    const due = plan.filter(({ action }) => action !== 'none')
    if (flags.dryRun || due.length === 0)
      return output.json ? output.print(plan.map(toJson), () => '') : undefined
    if (!flags.yes && process.stdin.isTTY && !output.json) await confirm(context)
    const applied = await applyAll(context, connection, due, flags)
    if (output.json)
      output.print(
        plan.map((change) => ({ ...toJson(change), ...applied.get(change) })),
        () => '',
      )
  })
}

async function applyAll(
  context: Context,
  connection: CompleteConnection,
  due: readonly PlannedChange[],
  { start }: ApplyFlags,
): Promise<Map<PlannedChange, { domain?: Domain; error?: unknown }>> {
  const { output, signal } = context
  const outcome = new Map<PlannedChange, { domain?: Domain; error?: unknown }>()
  for (const change of due) {
    checkCancelled(signal)
    try {
      const domain = await applyChange(connection, change, signal)
      outcome.set(change, { domain })
      const word = change.action === 'create' ? 'created' : 'changed'
      const later = change.running ? '; it takes effect at its next start' : ''
      output.note(`${output.noteColours.green('✓')} ${safeText(domain.name)} ${word}${later}`)
      if (!start || change.action !== 'create') continue
      await connection.domains.start(domain.uuid, { signal })
      output.note(`${output.noteColours.green('✓')} ${safeText(domain.name)} started`)
    } catch (error) {
      context.failWith(reportError(error, output))
      outcome.set(change, { ...outcome.get(change), error })
    }
  }
  return outcome
}

function toJson({ document, action, definition, diff }: PlannedChange) {
  const lines = diff.filter(({ kind }) => kind !== 'same')
  return { name: definition.name, uuid: definition.uuid, file: document.file, action, diff: lines }
}

/** Each difference under its machine's name, and what it comes to. */
export function formatPlan(plan: readonly PlannedChange[], colours: Colours): string {
  const { bold, dim, green, yellow } = colours
  const parts = plan
    .filter(({ action }) => action !== 'none')
    .map(({ action, definition, document, diff }) => {
      const word = action === 'create' ? green('new') : yellow('changed')
      const head = `${bold(safeText(definition.name))}  ${word}  ${dim(safeText(document.file))}\n`
      return `${head}${formatDiff(diff, colours)}\n`
    })
  const count = (action: PlannedChange['action']) => plan.filter((change) => change.action === action).length
  const [created, changed, same] = [count('create'), count('change'), count('none')]
  const sum = joinWords([
    created > 0 && `${created} to create`,
    changed > 0 && `${changed} to change`,
    same > 0 && `${same} ${same === 1 ? 'is' : 'are'} as ${same === 1 ? 'its file says' : 'their files say'}`,
  ])
  return `${parts.join('')}${sum}\n`
}

async function confirm({ signal }: Context): Promise<void> {
  const asking = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await asking.question('Apply this? [y/N] ', { signal })
    if (!/^y(es)?$/iu.test(answer.trim()))
      throw new VisorError('cancelled', 'Cancelled: nothing was changed.')
  } finally {
    asking.close()
  }
}
