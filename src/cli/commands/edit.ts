import type { Command } from 'commander'
import { entityTag } from '../../driver/index.ts'
import { type Domain, formatDefinition, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { editUntilAccepted } from '../edit-session.ts'
import { addExamples } from '../help.ts'
import { safeText } from '../text-width.ts'

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Change the definition of a machine in your editor (VISUAL, EDITOR). What is wrong is told in the file, and it opens again.',
    )
    .argument('<domain>', 'name or uuid')
    .option('--xml', "as libvirt's XML instead of YAML")
    .action((domain: string, { xml }: { xml?: true }) => edit(context, domain, xml ? 'xml' : 'yaml'))
  addExamples(command, [
    ['visor edit web', 'as YAML'],
    ['EDITOR=nano visor edit web --xml', 'as XML, in nano'],
  ])
}

async function edit(context: Context, name: string, format: 'xml' | 'yaml'): Promise<void> {
  const { output, signal, connected } = context
  const domain = await connected(({ domains }) => domains.get(name))
  const current = await connected(({ domains }) => domains.describe(domain.uuid, { inactive: true }))
  let after: Domain | undefined
  // The connection is opened anew for the change: an editor may stay open for hours.
  const changed = await editUntilAccepted({
    text: formatDefinition(current, format),
    format,
    heading: `definition of ${safeText(domain.name)}; leave it unchanged to change nothing`,
    async accept(definition) {
      if (definition.uuid !== undefined && definition.uuid !== domain.uuid)
        throw new VisorError('invalid-argument', 'The uuid cannot be edited.', {
          path: 'uuid',
          remedy: `Put it back: ${domain.uuid}. To make another machine, use 'visor define'.`,
        })
      definition.uuid = domain.uuid
      after = await connected(({ domains }) =>
        domains.define(definition, { ifMatch: entityTag(current), signal }),
      )
    },
  })
  if (after) output.print(after, () => '')
  if (!changed) return output.note(`${safeText(name)} is as it was`)
  const later = domain.state === 'shutoff' ? '' : '; it takes effect at its next start'
  output.note(`${output.noteColours.green('✓')} ${safeText(after?.name ?? name)} changed${later}`)
}
