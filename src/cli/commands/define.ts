import type { Command } from 'commander'
import { type Domain, VisorError } from '../../model/index.ts'
import { type Context, checkCancelled } from '../context.ts'
import { loadDocuments, withDocument } from '../documents.ts'
import { addExamples } from '../help.ts'
import { reportError } from '../report-error.ts'
import { safeText } from '../text-width.ts'

interface DefineFlags {
  readonly file?: readonly string[]
  readonly new?: true
  readonly start?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Make machines known, or replace their definitions, without asking. visor apply shows first what differs.',
    )
    .argument('[files...]', "XML, YAML (several documents too) or JSON files, directories of them, '-'")
    .option('-f, --file <file...>', 'the same')
    .option('--new', 'only when there is none of that name or uuid')
    .option('--start', 'and start them')
    .action((files: string[], flags: DefineFlags) => defineAll(context, files, flags))
  addExamples(command, [
    ['visor define web.xml', 'what virsh dumpxml printed'],
    ['visor define -f machines/ --start', 'a directory of files'],
  ])
}

async function defineAll(context: Context, files: readonly string[], flags: DefineFlags): Promise<void> {
  const { output, signal } = context
  const paths = [...files, ...(flags.file ?? [])]
  if (paths.length === 0)
    throw new VisorError('invalid-argument', 'No file was named.', { remedy: 'Name one: visor define FILE' })
  const documents = await loadDocuments(paths)
  await context.connected(async ({ domains }) => {
    const defined: Domain[] = []
    for (const document of documents) {
      checkCancelled(signal)
      try {
        const condition = flags.new ? { ifNoneMatch: '*' } : {}
        const domain = await withDocument(document, () =>
          domains.define(document.definition, { ...condition, signal }),
        )
        output.note(`${output.noteColours.green('✓')} ${safeText(domain.name)} is defined`)
        if (flags.start) {
          await domains.start(domain.uuid, { signal })
          output.note(`${output.noteColours.green('✓')} ${safeText(domain.name)} started`)
        }
        defined.push(domain)
      } catch (error) {
        context.failWith(reportError(error, output))
      }
    }
    if (output.json) output.print(defined, () => '')
  })
}
