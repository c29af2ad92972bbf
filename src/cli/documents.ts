import { readdir, readFile, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { text as readAll } from 'node:stream/consumers'
import {
  type DefinitionFormat,
  type DomainDefinition,
  guessFormat,
  parseDefinitions,
  positionOf,
  toVisorError,
  VisorError,
} from '../model/index.ts'
import { inFile } from './report-error.ts'

/** A definition and the file it came from; a file may hold several. */
export interface DefinitionDocument {
  readonly file: string
  readonly definition: DomainDefinition
}

const formats: Readonly<Record<string, DefinitionFormat>> = {
  '.xml': 'xml',
  '.yaml': 'yaml',
  '.yml': 'yaml',
  '.json': 'json',
}
/** Larger than any definition that makes sense. */
const maxBytes = 16 * 2 ** 20

/**
 * The definitions in these files: XML, JSON, or YAML with any number of documents; `-` is standard input, and a
 * directory stands for the files in it that have one of these endings, by name. Errors name file, line and column.
 */
export async function loadDocuments(paths: readonly string[]): Promise<DefinitionDocument[]> {
  const documents: DefinitionDocument[] = []
  for (const path of paths)
    for (const file of path === '-' ? [path] : await expand(path)) documents.push(...(await loadFile(file)))
  if (documents.length === 0)
    throw new VisorError('invalid-argument', `There is no definition in ${paths.join(', ')}.`, {
      remedy: 'Definitions are in files that end in .yaml, .yml, .json or .xml.',
    })
  refuseTwins(documents)
  return documents
}

async function expand(path: string): Promise<string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path]
    const names = (await readdir(path)).filter((name) => extname(name) in formats && !name.startsWith('.'))
    return names.sort().map((name) => join(path, name))
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

async function loadFile(file: string): Promise<DefinitionDocument[]> {
  const { text, format, name } = await loadText(file)
  try {
    return parseDefinitions(text, format).map((definition) => ({ file: name, definition }))
  } catch (error) {
    throw inFile(error, name)
  }
}

/** What a file says, read by `parse`; its errors name the file. */
export async function loadAs<T>(
  file: string,
  parse: (text: string, format: DefinitionFormat) => T,
): Promise<T> {
  const { text, format, name } = await loadText(file)
  try {
    return parse(text, format)
  } catch (error) {
    throw inFile(error, name)
  }
}

/** A text in whichever notation, and what to call where it is from; `-` is standard input. */
export async function loadText(
  file: string,
): Promise<{ readonly text: string; readonly format: DefinitionFormat; readonly name: string }> {
  const text = file === '-' ? await readAll(process.stdin) : await readText(file)
  const format = formats[extname(file).toLowerCase()] ?? guessFormat(text)
  return { text, format, name: file === '-' ? 'standard input' : file }
}

async function readText(file: string): Promise<string> {
  try {
    const { size } = await stat(file)
    if (size > maxBytes) throw new Error(`it is larger than ${maxBytes / 2 ** 20} MiB`)
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw unreadable(file, cause)
  }
}

function unreadable(file: string, cause: unknown): VisorError {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'ENOENT') return new VisorError('invalid-argument', `There is no file '${file}'.`, { cause })
  return new VisorError('invalid-argument', `'${file}' cannot be read: ${message}.`, { cause })
}

function refuseTwins(documents: readonly DefinitionDocument[]): void {
  const seen = new Map<string, string>()
  for (const { file, definition } of documents)
    for (const key of [definition.name, definition.uuid]) {
      if (key === undefined) continue
      const other = seen.get(key)
      if (other !== undefined)
        throw new VisorError(
          'invalid-definition',
          `${file}: '${key}' is defined twice${other === file ? '' : `, also in ${other}`}.`,
          {
            remedy: 'Names and uuids are one of a kind: keep one of the two, or rename it.',
          },
        )
      seen.set(key, file)
    }
}

/** Does something with a document; an error that names a part of the definition then names its place in the file. */
export async function withDocument<T>(
  { file, definition }: DefinitionDocument,
  use: () => Promise<T>,
): Promise<T> {
  try {
    return await use()
  } catch (error) {
    if (toVisorError(error).path === undefined) throw error
    throw inFile(error, file, (path) => positionOf(definition, path))
  }
}
