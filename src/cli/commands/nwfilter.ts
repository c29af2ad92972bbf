import type { Command } from 'commander'
import type { CompleteConnection } from '../../driver/index.ts'
import { formatNwfilterDefinition, type Nwfilter, parseNwfilterDefinition } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addEdit, changeEach, defineFrom } from '../defined-objects.ts'
import { addExamples } from '../help.ts'
import { formatSection, safe } from '../page.ts'
import { formatTable } from '../table.ts'

const kind = {
  noun: 'filter',
  command: 'nwfilter',
  part: ({ nwfilters }: CompleteConnection) => nwfilters,
  parse: parseNwfilterDefinition,
  format: formatNwfilterDefinition,
  more: ({ usedBy }: Nwfilter) =>
    usedBy.length > 0 ? `, and in force for ${usedBy.map((one) => safe(one)).join(', ')}` : '',
}

export function configure(command: Command, context: Context): void {
  command.description('Make filters of what machines on networks send and get, and take them away.')
  const sub = (name: string, description: string) => command.command(name).description(description)
  const list = command
    .command('list', { isDefault: true })
    .description('List them, and for whom they are in force.')
    .action(() => listFilters(context))
  const define = sub(
    'define',
    'Make filters known from files of XML, YAML or JSON; at once for who has them.',
  )
    .argument('<files...>', "files, '-'")
    .action((files: string[]) => defineFrom(context, kind, files))
  const show = sub('show', 'Show a filter.')
    .argument('<filter>', 'its name or uuid')
    .option('--xml', "the definition as libvirt's XML")
    .option('--yaml', 'the definition as YAML')
    .action((name: string, flags: ShowFlags) => showFilter(context, name, flags))
  const edit = addEdit(command, context, kind, 'at once for who has it')
  const remove = sub('remove', 'Forget filters; what visor brings itself is again what it was.')
    .alias('rm')
    .alias('undefine')
    .argument('<filters...>', 'their names or uuids')
    .action((names: string[]) =>
      changeEach(context, kind, names, 'is removed', (filters, name, signal) =>
        filters.undefine(name, { signal }),
      ),
    )
  addExamples(command, [['visor nwfilter list', 'what there is']])
  addExamples(list, [['visor nwfilter list', 'what there is']])
  addExamples(define, [['visor nwfilter define web-only.xml', 'what virsh nwfilter-dumpxml printed']])
  addExamples(show, [['visor nwfilter show clean-traffic --xml', 'what virsh nwfilter-dumpxml prints']])
  addExamples(edit, [['EDITOR=nano visor nwfilter edit web-only', 'as XML, in nano']])
  addExamples(remove, [['visor nwfilter remove web-only', 'refused while a machine has it']])
}

async function listFilters({ connected, output }: Context): Promise<void> {
  const filters = await connected(({ nwfilters }) => nwfilters.list())
  const { colours, columns } = output
  output.print(filters, () => {
    if (output.quiet) return filters.map(({ name }) => `${name}\n`).join('')
    return formatTable<Nwfilter>(
      [
        { title: 'name', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 10 },
        { title: 'chain', value: ({ chain }) => chain },
        { title: 'from', value: ({ builtIn }) => (builtIn ? 'visor' : 'you') },
        { title: 'in force for', value: ({ usedBy }) => usedBy.join(' '), shrinkTo: 10 },
        { title: 'uuid', value: ({ uuid }) => uuid, style: (text) => colours.dim(text) },
      ],
      filters,
      { width: columns, styleTitle: colours.dim },
    )
  })
}

interface ShowFlags {
  readonly xml?: true
  readonly yaml?: true
}

async function showFilter({ connected, output }: Context, name: string, flags: ShowFlags): Promise<void> {
  const { filter, definition } = await connected(async ({ nwfilters }) => ({
    filter: await nwfilters.get(name),
    definition: await nwfilters.describe(name),
  }))
  if (flags.xml || flags.yaml) {
    output.print(definition, () => formatNwfilterDefinition(definition, flags.xml ? 'xml' : 'yaml'))
    return
  }
  const { colours } = output
  const { entries } = definition
  output.print({ ...filter, definition }, () =>
    [
      `${colours.bold(safe(filter.name) ?? '')}\n`,
      formatSection(colours, '', [
        [
          'chain',
          `${filter.chain}${definition.priority === undefined ? '' : `, priority ${definition.priority}`}`,
        ],
        ['rules', String(entries.filter(({ rule }) => rule).length)],
        ['filters', entries.flatMap(({ reference }) => reference?.filter ?? []).join(', ')],
        ['from', filter.builtIn ? 'visor' : 'you'],
        ['in force for', filter.usedBy.map((one) => safe(one)).join(', ')],
        ['uuid', filter.uuid],
      ]),
    ].join(''),
  )
}
