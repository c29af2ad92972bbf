import { type Command, Option } from 'commander'
import { addressSources, type GuestInterfaceAddress } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { safe } from '../page.ts'
import { formatTable } from '../table.ts'

type Source = (typeof addressSources)[number]

export function configure(command: Command, context: Context): void {
  command
    .description('Show the addresses of a machine, and who says so: DHCP, neighbours, its agent.')
    .argument('<domain>', 'name or uuid')
    .addOption(new Option('--source <source>', 'only what this one says').choices(addressSources))
    .option('--interface <link>', 'only of this interface: name or MAC address')
    .action(async (domain: string, flags: { source?: Source; interface?: string }) => {
      const { source } = flags
      const all = await context.connected(({ reach }) => reach.addresses(domain, source && { source }))
      const link = flags.interface?.toLowerCase()
      print(
        context,
        domain,
        all.filter((one) => link === undefined || one.interface.toLowerCase() === link || one.mac === link),
      )
    })
  addExamples(command, [
    ['visor domifaddr web', 'all addresses that are known'],
    ['visor domifaddr web -q', 'the first of them, for scripts'],
    ['visor domifaddr web --source agent', 'as the guest itself has them'],
  ])
}

function print({ output }: Context, domain: string, found: readonly GuestInterfaceAddress[]): void {
  output.print(found, () => {
    const [first] = found
    if (!first) output.note(`No address of ${safe(domain)} is known.`)
    if (!first) return ''
    if (output.quiet) return `${first.address}\n`
    return formatTable<GuestInterfaceAddress>(
      [
        { title: 'interface', value: (one) => safe(one.interface) ?? '' },
        { title: 'mac', value: ({ mac = '' }) => mac },
        {
          title: 'address',
          value: ({ address, prefix }) => (prefix === undefined ? address : `${address}/${prefix}`),
          style: (text) => output.colours.bold(text),
        },
        { title: 'network', value: ({ network = '' }) => network, shrinkTo: 8 },
        { title: 'source', value: ({ sources }) => sources.join(', ') },
      ],
      found,
      { width: output.columns, styleTitle: output.colours.dim },
    )
  })
}
