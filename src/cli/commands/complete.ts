import type { Command } from 'commander'
import { suggestWords } from '../complete.ts'
import type { Context } from '../context.ts'
import { safeText } from '../text-width.ts'

export function configure(command: Command, { output }: Context): void {
  command
    .description('Suggest words to a shell; see visor completion.')
    .argument('[words...]', 'what was typed, after a --')
    .action(async (words: string[]) => {
      const { words: found, files } = await suggestWords(words)
      for (const { value, doc } of found) output.write(`${safeText(value)}\t${safeText(doc)}\n`)
      if (files) output.write(':files\n')
    })
}
