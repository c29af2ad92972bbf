import type { Command } from 'commander'
import { VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { withProgress } from '../progress.ts'
import { safeText } from '../text-width.ts'
import { formatDuration, parseCount } from '../units.ts'

interface CloneFlags {
  readonly live?: true
  readonly linked?: true
  readonly name?: string
  readonly paused?: true
  readonly pool?: string
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Copy a machine that is off, with its disks; or with --live make running copies of a template, which share its memory. Each has a name, disks and addresses of its own.',
    )
    .argument('<source>', 'the machine; with --live the template, which visor template create makes')
    .argument('[name-or-count]', 'name of the copy; with --live how many')
    .option('--linked', 'disks that are overlays on those of the machine, which must then stay off')
    .option('--live', 'running copies of a template')
    .option('--name <name>', 'name of the copy, or what the names of several begin with')
    .option('--paused', 'leave the processors stopped (with --live)')
    .option('--pool <count>', 'keep so many more ready from now on (with --live)')
    .action((source: string, second: string | undefined, flags: CloneFlags) =>
      flags.live
        ? cloneLive(context, source, second ?? '1', flags)
        : cloneCold(context, source, second, flags),
    )
  addExamples(command, [
    ['visor clone web web2', 'web2, off, with copies of the disks of web'],
    ['visor clone web test --linked', 'at once, and small; web stays off as long'],
    ['visor clone --live gold', 'gold-1, running'],
    ['visor clone --live gold 12 --name web', 'web-1 to web-12'],
    ['visor clone --live gold --name test --pool 4', 'and four more that wait to be taken'],
  ])
}

/** A copy of a machine that is off. */
async function cloneCold(
  { output, signal, connected }: Context,
  source: string,
  second: string | undefined,
  { name: flag, linked, paused, pool }: CloneFlags,
): Promise<void> {
  if (paused || pool !== undefined)
    throw new VisorError(
      'invalid-argument',
      `${paused ? '--paused' : '--pool'} is for running copies of a template.`,
      { remedy: `Write 'visor clone --live ${source}', or leave it out.` },
    )
  if (second !== undefined && flag !== undefined && second !== flag)
    throw new VisorError('invalid-argument', `The copy has two names: '${second}' and '${flag}'.`, {
      remedy: 'Give it one.',
    })
  const name = second ?? flag
  if (name === undefined)
    throw new VisorError('invalid-argument', `The copy of '${source}' needs a name.`, {
      remedy: `Write 'visor clone ${source} NAME'; running copies of a template: 'visor clone --live ${source}'.`,
    })
  const started = performance.now()
  const made = await connected(({ domains }) =>
    withProgress(output, `Copying ${source}`, signal, (call) =>
      domains.clone(source, { ...call, name, ...(linked && { linked }) }),
    ),
  )
  const took = formatDuration(performance.now() - started)
  const { green, dim } = output.noteColours
  output.print(made, () => (output.quiet ? `${made.name}\n` : ''))
  output.note(
    `${green('✓')} ${safeText(made.name)} is a ${linked ? 'linked copy' : 'copy'} of ${safeText(source)} ${dim(`(${took})`)}`,
  )
  if (linked)
    output.note(`  ${dim(`${safeText(source)} cannot be started while that is based on its disks`)}`)
}

async function cloneLive(
  context: Context,
  template: string,
  number: string,
  flags: CloneFlags,
): Promise<void> {
  const { output, signal, connected } = context
  const { linked, name, paused, pool } = flags
  if (linked)
    throw new VisorError('invalid-argument', '--linked is for machines that are off.', {
      remedy: 'Leave it out: disks of running copies are overlays anyway.',
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
