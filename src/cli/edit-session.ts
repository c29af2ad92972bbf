import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type DomainDefinition,
  type Issue,
  parseDefinition,
  positionOf,
  toVisorError,
  VisorError,
} from '../model/index.ts'
import { openEditor } from './editor.ts'

export type EditFormat = 'yaml' | 'xml'

const marker = 'visor:'

/** A line that only visor writes, and takes out again. */
function comment(text: string, format: EditFormat): string {
  // '--' cannot stand in an XML comment.
  return format === 'yaml' ? `# ${marker} ${text}` : `<!-- ${marker} ${text.replace(/-(?=-)/gu, '- ')} -->`
}

/** The text without the lines that visor put in. */
export function stripComments(text: string): string {
  const own = new RegExp(`^\\s*(?:# ${marker} .*|<!-- ${marker} .* -->)$`, 'u')
  return text
    .split('\n')
    .filter((line) => !own.test(line))
    .join('\n')
}

/** The text with what is wrong with it, each thing above its line. */
export function annotate(text: string, error: VisorError, format: EditFormat): string {
  const issues: readonly Partial<Issue>[] = error.issues ?? [error]
  const lines = text.split('\n')
  const notes = issues.map((issue) => ({
    line: Math.min(Math.max(issue.line ?? 1, 1), lines.length),
    text: oneLine(`error: ${issue.path && error.issues ? `${issue.path} ` : ''}${issue.message ?? ''}`),
  }))
  if (error.remedy) notes.push({ line: notes.at(-1)?.line ?? 1, text: oneLine(`try: ${error.remedy}`) })
  return lines
    .flatMap((line, index) => [
      ...notes.filter((note) => note.line === index + 1).map((note) => comment(note.text, format)),
      line,
    ])
    .join('\n')
}

function oneLine(text: string): string {
  return text.replace(/\s+/gu, ' ').trim()
}

export interface EditOptions<D extends object = DomainDefinition> {
  /** The file is opened with it. */
  readonly text: string
  readonly format: EditFormat
  /** A line about it at the top. */
  readonly heading: string
  /** What the text says; a definition of a domain without it. */
  readonly parse?: (text: string, format: EditFormat) => D
  /** Makes the change. An error about the definition opens the editor again. */
  readonly accept: (definition: D) => Promise<void>
}

const aboutTheText: readonly string[] = [
  'invalid-definition',
  'unsupported-config',
  'invalid-argument',
  'already-exists',
]

/**
 * Lets a person edit the text until it is accepted: true, or false when it was left as it was. What is wrong is
 * told in the file itself. Left unchanged after an error, or refused for another reason, what was written is kept
 * in a file, and the error says where.
 */
export async function editUntilAccepted<D extends object = DomainDefinition>({
  text,
  format,
  heading,
  accept,
  parse = parseDefinition as unknown as NonNullable<EditOptions<D>['parse']>,
}: EditOptions<D>): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), 'visor-edit-'))
  const file = join(directory, `definition.${format}`)
  let keep = false
  try {
    let shown = `${comment(heading, format)}\n${text}`
    for (let error: VisorError | undefined; ; ) {
      await writeFile(file, shown, { mode: 0o600 })
      await openEditor(file)
      const edited = stripComments(await readFile(file, 'utf8'))
      if (edited === stripComments(shown)) {
        if (!error) return false
        keep = true
        throw kept(error, file)
      }
      error = await attempt(() => parse(edited, format), accept)
      if (!error) return true
      if (!aboutTheText.includes(error.code)) {
        keep = true
        await writeFile(file, edited)
        throw kept(error, file)
      }
      shown = annotate(edited, error, format)
    }
  } finally {
    if (!keep) await rm(directory, { recursive: true, force: true })
  }
}

async function attempt<D extends object>(
  parse: () => D,
  accept: EditOptions<D>['accept'],
): Promise<VisorError | undefined> {
  let definition: D | undefined
  try {
    definition = parse()
    await accept(definition)
    return undefined
  } catch (thrown) {
    return definition ? located(toVisorError(thrown), definition) : toVisorError(thrown)
  }
}

/** Where things are in the text the user has, not in what was sent. */
function located(error: VisorError, definition: object): VisorError {
  const { code, message, remedy, path, object } = error
  const find = (part: string | undefined) => (part === undefined ? undefined : positionOf(definition, part))
  const issues = error.issues?.map((issue) => ({
    path: issue.path,
    message: issue.message,
    ...find(issue.path),
  }))
  return new VisorError(code, message, { remedy, path, object, issues, ...find(path), cause: error })
}

function kept(error: VisorError, file: string): VisorError {
  return new VisorError(error.code, error.message, {
    remedy: [error.remedy, `What you wrote is in ${file}.`].filter(Boolean).join(' '),
    cause: error,
  })
}
