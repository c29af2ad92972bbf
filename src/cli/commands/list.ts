import { type Command, Option } from 'commander'
import { type Domain, type DomainState, domainStates } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { colourState, stateWord } from '../domain-words.ts'
import { addExamples } from '../help.ts'
import type { Colours, Output } from '../output.ts'
import { type Column, formatTable } from '../table.ts'
import { formatAgo, formatKiB } from '../units.ts'

interface ListFlags {
  readonly all?: true
  readonly running?: true
  readonly off?: true
  readonly state?: readonly DomainState[]
  readonly driver?: string
  readonly uuid?: true
}

const live: readonly DomainState[] = domainStates.filter(
  (state) => state !== 'shutoff' && state !== 'crashed',
)

export function configure(command: Command, context: Context): void {
  command
    .description('List machines, by name: all of them, or those in some state.')
    .option('-a, --all', 'all of them, as without it')
    .option('--running', 'only those with the power on')
    .option('--off', 'only those with the power off')
    .addOption(new Option('--state <states...>', 'only those in one of these states').choices(domainStates))
    .option('--driver <name>', 'only those of this driver')
    .option('--uuid', 'also their uuids')
    .action((flags: ListFlags) => list(context, flags))
  addExamples(command, [
    ['visor list', 'everything there is'],
    ['visor list --running --quiet', 'names of what runs, one a line, for scripts'],
    ["visor list --json | jq -r '.[].uuid'", 'for programs'],
  ])
}

async function list({ connected, output }: Context, flags: ListFlags): Promise<void> {
  const states = flags.running ? live : flags.off ? (['shutoff', 'crashed'] as const) : flags.state
  const { driver } = flags
  const filter = { ...(states && { states }), ...(driver !== undefined && { driver }) }
  const domains = await connected((connection) => connection.domains.list(filter))
  output.print(domains, () => {
    if (output.quiet) return domains.map(({ name, uuid }) => `${flags.uuid ? uuid : name}\n`).join('')
    if (domains.length > 0) return formatDomains(domains, output, flags.uuid ?? false)
    const filtered = Object.keys(filter).length > 0
    output.note(
      filtered ? 'No machine is like that.' : "No machines yet: 'visor create NAME --image micro' makes one.",
    )
    return ''
  })
}

/** The table of `visor list`. */
export function formatDomains(domains: readonly Domain[], output: Output, withUuid: boolean): string {
  const shown = columnsOf(output.colours, withUuid).filter(
    ({ title, value }) => !optional.has(title) || domains.some((domain) => value(domain) !== ''),
  )
  return formatTable(shown, domains, { width: output.columns, styleTitle: output.colours.dim })
}

/** Columns that are left out when nothing stands in them. */
const optional = new Set(['since', 'autostart', 'about'])

function columnsOf(colours: Colours, withUuid: boolean): Column<Domain>[] {
  const { bold, dim, red } = colours
  const uuid: Column<Domain> = { title: 'uuid', value: (domain) => domain.uuid, style: (text) => dim(text) }
  return [
    { title: 'name', value: ({ name }) => name, style: (text) => bold(text), shrinkTo: 12 },
    { title: 'state', value: stateWord, style: (text, domain) => colourState(colours, text, domain) },
    { title: 'since', value: ({ startedAt }) => (startedAt ? formatAgo(startedAt) : '') },
    { title: 'cpus', value: ({ vcpus }) => String(vcpus), align: 'right' },
    { title: 'memory', value: ({ memoryKiB }) => formatKiB(memoryKiB), align: 'right' },
    { title: 'type', value: ({ type }) => type },
    { title: 'autostart', value: ({ autostart }) => (autostart ? 'yes' : '') },
    ...(withUuid ? [uuid] : []),
    {
      title: 'about',
      value: ({ message, title }) => message ?? title ?? '',
      style: (text, { message }) => (message ? red(text) : dim(text)),
      shrinkTo: 5,
    },
  ]
}
