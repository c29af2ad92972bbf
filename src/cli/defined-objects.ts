/** What the commands for networks, pools and filters have in common: things that have a definition and a name. */
import type { Command } from 'commander'
import { type CompleteConnection, entityTag } from '../driver/index.ts'
import { type DefinitionFormat, VisorError } from '../model/index.ts'
import type { Context } from './context.ts'
import { loadText } from './documents.ts'
import { editUntilAccepted } from './edit-session.ts'
import { safe } from './page.ts'
import { inFile } from './report-error.ts'

/** The operations on them. */
export interface DefinedPart<D, R> {
  describe(name: string, options?: { readonly inactive?: boolean }): Promise<D>
  define(definition: D, options: { readonly ifMatch?: string; readonly signal: AbortSignal }): Promise<R>
}

/** A kind of them. */
export interface DefinedKind<D extends { readonly name: string }, R, P extends DefinedPart<D, R>> {
  /** What one is called in messages: 'network'. */
  readonly noun: string
  /** The command that is about them: 'network'. */
  readonly command: string
  part(connection: CompleteConnection): P
  parse(text: string, format?: DefinitionFormat): D
  format(definition: D, format: 'xml' | 'yaml'): string
  /** What is told of one beyond that it is defined: ', and in force for web'. */
  more?(defined: R): string
}

type Kind<D extends { readonly name: string }, R, P extends DefinedPart<D, R>> = DefinedKind<D, R, P>

/** Does the same to each; what was done before one fails stays done, and was told. */
export async function changeEach<D extends { readonly name: string }, R, P extends DefinedPart<D, R>>(
  { connected, output, signal }: Context,
  { noun, part }: Kind<D, R, P>,
  names: readonly string[],
  done: string,
  change: (part: P, name: string, signal: AbortSignal) => Promise<unknown> | undefined,
): Promise<void> {
  await connected(async (connection) => {
    for (const name of names) {
      await change(part(connection), name, signal)
      output.note(`${output.noteColours.green('✓')} ${noun} ${safe(name)} ${done}`)
    }
  })
}

/** Defines what is in files; nothing when one of them is wrong. */
export async function defineFrom<D extends { readonly name: string }, R, P extends DefinedPart<D, R>>(
  { connected, output, signal }: Context,
  { noun, part, parse, more }: Kind<D, R, P>,
  files: readonly string[],
): Promise<void> {
  const definitions: D[] = []
  for (const file of files) {
    const { text, format, name } = await loadText(file)
    try {
      definitions.push(parse(text, format))
    } catch (error) {
      throw inFile(error, name)
    }
  }
  await connected(async (connection) => {
    for (const definition of definitions) {
      const defined = await part(connection).define(definition, { signal })
      output.note(
        `${output.noteColours.green('✓')} ${noun} ${safe(definition.name)} is defined${more?.(defined) ?? ''}`,
      )
    }
  })
}

/** Lets a person edit the definition of one; refused when somebody else changed it meanwhile. */
export async function editDefinition<D extends { readonly name: string }, R, P extends DefinedPart<D, R>>(
  { connected, output, signal }: Context,
  { noun, command, part, parse, format: print }: Kind<D, R, P>,
  name: string,
  format: 'xml' | 'yaml',
): Promise<void> {
  const current = await connected((connection) => part(connection).describe(name, { inactive: true }))
  const changed = await editUntilAccepted<D>({
    text: print(current, format),
    format,
    parse,
    heading: `${noun} ${safe(current.name)}; leave it unchanged to change nothing`,
    async accept(definition) {
      if (definition.name !== current.name)
        throw new VisorError('invalid-argument', 'The name cannot be edited.', {
          path: 'name',
          remedy: `Put it back: ${current.name}. To make another ${noun}, use 'visor ${command} define'.`,
        })
      await connected((connection) =>
        part(connection).define(definition, { ifMatch: entityTag(current), signal }),
      )
    },
  })
  output.note(
    changed
      ? `${output.noteColours.green('✓')} ${noun} ${safe(current.name)} is changed`
      : `${noun} ${safe(current.name)} is as it was`,
  )
}

/** Adds the command that edits one, to the command about them. */
export function addEdit<D extends { readonly name: string }, R, P extends DefinedPart<D, R>>(
  command: Command,
  context: Context,
  kind: Kind<D, R, P>,
  when: string,
): Command {
  return command
    .command('edit')
    .description(`Change a ${kind.noun} in your editor (VISUAL, EDITOR); ${when}.`)
    .argument(`<${kind.noun}>`, 'its name or uuid')
    .option('--yaml', "as YAML instead of libvirt's XML")
    .action((name: string, { yaml }: { yaml?: true }) =>
      editDefinition(context, kind, name, yaml ? 'yaml' : 'xml'),
    )
}
