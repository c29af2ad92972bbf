import type { Command } from 'commander'
import type { Interface } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { safe } from '../page.ts'
import { formatTable } from '../table.ts'

interface Flags {
  readonly inactive?: true
}

/** A network card as scripts want it: libvirt's words for what it is. */
interface CardLine extends Pick<Interface, 'type' | 'mac' | 'model'> {
  /** Link of this host that leads to it; only of a machine that runs. */
  readonly link: string | undefined
  /** What it is connected to. */
  readonly source: string | undefined
  readonly state: 'up' | 'down'
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'List the network cards of a machine: what they are connected to, and their hardware addresses.',
    )
    .argument('<domain>', 'name or uuid')
    .option('--inactive', 'of its next start, not of the machine that runs')
    .action((domain: string, { inactive }: Flags) => listCards(context, domain, inactive))
  addExamples(command, [
    ['visor domiflist web', 'the hardware addresses that other commands take'],
    ['visor domiflist web -q', 'only these, for scripts'],
  ])
}

async function listCards(
  { connected, output }: Context,
  domain: string,
  inactive: true | undefined,
): Promise<void> {
  const { devices } = await connected(({ domains }) => domains.describe(domain, inactive ? { inactive } : {}))
  const cards = devices.interfaces.map(lineOf)
  output.print(cards, () => {
    if (output.quiet) return cards.map(({ mac = '' }) => `${mac}\n`).join('')
    if (cards.length === 0) output.note(`${safe(domain)} has no network cards.`)
    if (cards.length === 0) return ''
    return formatTable<CardLine>(
      [
        { title: 'mac', value: ({ mac = '-' }) => mac, style: (text) => output.colours.bold(text) },
        { title: 'model', value: ({ model = '' }) => model },
        { title: 'type', value: ({ type }) => type },
        { title: 'source', value: ({ source }) => safe(source) ?? '-', shrinkTo: 8 },
        { title: 'link', value: ({ link }) => safe(link) ?? '-' },
        { title: 'cable', value: ({ state }) => state },
      ],
      cards,
      { width: output.columns, styleTitle: output.colours.dim },
    )
  })
}

function lineOf(card: Interface): CardLine {
  const { type, mac, model, target, link = 'up' } = card
  return { type, mac, model, link: target, source: sourceOf(card), state: link }
}

function sourceOf({ type, network, bridge, dev, path, sourceAddress }: Interface): string | undefined {
  if (type === 'network') return network
  if (type === 'bridge') return bridge
  return dev ?? path ?? sourceAddress
}
