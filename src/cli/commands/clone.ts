import type { Command } from 'commander'
import { VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { withProgress } from '../progress.ts'
import { safeText } from '../text-width.ts'
import { formatDuration, parseCount } from '../units.ts'

interface CloneFlags {
  readonly live?: true
  readonly name?: string
  readonly paused?: true
  readonly pool?: string
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Make running copies of a template, which share its memory. Each has a name, disks and addresses of its own.',
    )
    .argument('<template>', 'name of the template; visor template create makes one')
    .argument('[count]', 'how many', '1')
    .option('--live', 'running copies; there are no others yet')
    .option('--name <name>', 'name of the copy, or what the names of several begin with')
    .option('--paused', 'leave the processors stopped')
    .option('--pool <count>', 'keep so many more ready from now on')
    .action((template: string, count: string, flags: CloneFlags) => clone(context, template, count, flags))
  addExamples(command, [
    ['visor clone --live gold', 'gold-1, running'],
    ['visor clone --live gold 12 --name web', 'web-1 to web-12'],
    ['visor clone --live gold --name test --pool 4', 'and four more that wait to be taken'],
  ])
}

async function clone(context: Context, template: string, number: string, flags: CloneFlags): Promise<void> {
  const { output, signal, connected } = context
  const { live, name, paused, pool } = flags
  if (!live)
    throw new VisorError('invalid-argument', 'Only running copies of templates can be made.', {
      remedy: `Write 'visor clone --live ${template}'.`,
    })
  const count = parseCount(number, 'The number of copies', 1, 1000)
  const size = pool === undefined ? undefined : parseCount(pool, 'The pool', 0, 1000)
  const started = performance.now()
  const clones = await connected(async ({ templates }) => {
    if (size !== undefined) await templates.setPool(template, { size, signal })
    return withProgress(output, `Cloning ${template}`, signal, (call) =>
      templates.clone(template, {
        ...call,
        count,
        ...(name !== undefined && { name }),
        ...(paused && { paused }),
      }),
    )
  })
  const took = formatDuration(performance.now() - started)
  output.print(clones, () => (output.quiet ? clones.map((one) => `${one.name}\n`).join('') : ''))
  const names = clones.map((one) => safeText(one.name))
  const which = names.length > 4 ? `${names[0]} to ${names.at(-1)}` : names.join(', ')
  const state = paused ? 'made, and paused' : 'running'
  output.note(
    `${output.noteColours.green('✓')} ${which} ${names.length === 1 ? 'is' : 'are'} ${state} ${output.noteColours.dim(`(${took})`)}`,
  )
}
