import type { Command } from 'commander'
import { type Publication, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { safe } from '../page.ts'
import { parsePublicPorts } from '../publish.ts'
import { formatTable } from '../table.ts'

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Make ports of this host lead to a machine on one of its networks: from elsewhere, from this host and from other machines. Without a machine, list them.',
    )
    .argument('[domain]', 'name or uuid of the machine')
    .argument('[ports...]', '[ADDRESS:]PORT[-LAST]:GUESTPORT[/udp]')
    .action((domain: string | undefined, ports: string[]) =>
      domain === undefined ? listPublications(context) : publishPorts(context, domain, ports),
    )
  addExamples(command, [
    ['visor publish web 8080:80', "port 8080 of all of this host's addresses"],
    ['visor publish web 127.0.0.1:8443:443 5353:53/udp', 'for this host only; and a port of UDP'],
    ['visor publish game 30000-30010:30000', 'a range'],
    ['visor publish', 'what leads where'],
  ])
}

async function publishPorts(context: Context, domain: string, ports: readonly string[]): Promise<void> {
  const { connected, output, signal } = context
  if (ports.length === 0)
    throw new VisorError('invalid-argument', 'No port was named.', {
      remedy: `Name some: visor publish ${domain} 8080:80`,
    })
  const wanted = ports.map(parsePublicPorts)
  await connected(async ({ publications }) => {
    const made: Publication[] = []
    try {
      for (const one of wanted) made.push(await publications.create({ domain, ...one, signal }))
    } catch (error) {
      // Asked for together, they are there together or not at all.
      for (const { id } of made) await publications.remove(id).catch(() => {})
      throw error
    }
    for (const one of made) {
      output.note(
        `${output.noteColours.green('✓')} ${hostPorts(one)} leads to ${safe(one.name)}, port ${guestPorts(one)}`,
      )
      if (one.message) output.note(`  ${safe(one.message)}`)
    }
    output.print(made, () => (output.quiet ? made.map(({ id }) => `${id}\n`).join('') : ''))
  })
}

async function listPublications({ connected, output }: Context): Promise<void> {
  const publications = await connected((connection) => connection.publications.list())
  const { colours, columns } = output
  output.print(publications, () => {
    if (output.quiet) return publications.map(({ id }) => `${id}\n`).join('')
    if (publications.length === 0)
      output.note("No port leads to a machine: 'visor publish NAME 8080:80' makes one.")
    if (publications.length === 0) return ''
    return formatTable<Publication>(
      [
        { title: 'id', value: ({ id }) => id, style: (text) => colours.dim(text) },
        { title: 'port', value: hostPorts, style: (text) => colours.bold(text) },
        { title: 'machine', value: ({ name }) => name, shrinkTo: 10 },
        {
          title: 'leads to',
          value: (one) => (one.target ? `${one.target} port ${guestPorts(one)}` : 'nothing yet'),
        },
        { title: 'note', value: ({ message = '' }) => message, shrinkTo: 10 },
      ],
      publications,
      { width: columns, styleTitle: colours.dim },
    )
  })
}

const range = (first: number, last: number) => (first === last ? `${first}` : `${first}-${last}`)
const hostPorts = ({ address, start, end, proto }: Publication) =>
  `${address === undefined ? '' : `${address}:`}${range(start, end)}/${proto}`
const guestPorts = ({ start, end, to }: Publication) => range(to, to + end - start)
