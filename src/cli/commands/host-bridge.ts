import type { Command } from 'commander'
import { type HostBridge, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { safe } from '../page.ts'
import { formatTable } from '../table.ts'
import { parseCount } from '../units.ts'

interface CreateFlags {
  readonly from: string
  readonly seconds: number
  readonly dryRun?: boolean
  readonly confirm: boolean
}

export function configure(command: Command, context: Context): void {
  command.description(
    'Make bridges from network cards of this host, so that machines are on its LAN. Addresses, routes and DNS of the card move to the bridge, and go back by themselves unless that is confirmed in time.',
  )
  const sub = (name: string, description: string) => command.command(name).description(description)
  command
    .command('list', { isDefault: true })
    .description('List those that were made here.')
    .action(() => list(context))
  const create = sub('create', 'Make one; it stays when the daemon and the gateways are still reached.')
    .argument('<bridge>', 'name of the bridge')
    .requiredOption('--from <nic>', 'the network card')
    .option(
      '--seconds <n>',
      'all goes back unless it is confirmed within these',
      (text: string) => parseCount(text, 'seconds', 1, 3600),
      30,
    )
    .option('--dry-run', 'only say what would be done')
    .option('--no-confirm', "leave that to 'visor host-bridge confirm'")
    .action((bridge: string, flags: CreateFlags) => make(context, bridge, flags))
  const confirm = sub('confirm', 'Keep a new one.')
    .argument('<bridge>', 'name of the bridge')
    .action((bridge: string) => keep(context, bridge))
  const cancel = sub('cancel', 'Take a new one back, before its time is over.')
    .argument('<bridge>', 'name of the bridge')
    .action((bridge: string) => takeBack(context, bridge, 'cancel'))
  const remove = sub('remove', 'Remove bridges; their network cards get all back.')
    .alias('rm')
    .argument('<bridges...>', 'their names')
    .action(async (bridges: string[]) => {
      for (const bridge of bridges) await takeBack(context, bridge, 'remove')
    })
  addExamples(create, [
    ['visor host-bridge create br0 --from eth0 --dry-run', 'what would be done'],
    ['visor host-bridge create br0 --from eth0', 'do it'],
    ['visor network create lan --mode bridge --bridge br0', 'a network on it'],
  ])
  addExamples(confirm, [['visor host-bridge confirm br0', 'it stays']])
  addExamples(cancel, [['visor host-bridge cancel br0', 'the card has all back']])
  addExamples(remove, [['visor host-bridge remove br0', 'the card has all back']])
  addExamples(command, [['visor host-bridge', 'those there are']])
}

async function make(context: Context, name: string, flags: CreateFlags): Promise<void> {
  const { output, signal } = context
  const { from: nic, seconds: confirmSeconds, dryRun = false } = flags
  const { green, yellow } = output.noteColours
  const made = await context.connected(({ hostBridges }) =>
    hostBridges.create({ name, nic, confirmSeconds, dryRun, signal }),
  )
  if (dryRun) {
    output.print(made, () => `${made.plan.join('\n')}\n\n${made.configuration ?? ''}`)
    for (const note of made.notes) output.note(`${yellow('!')} ${safe(note)}`)
    return
  }
  output.note(`${green('✓')} '${nic}' is on '${name}', until ${made.confirmBy} unless it is confirmed`)
  if (!flags.confirm) return output.print(made, () => '')
  const kept = await confirmWhenReached(context, name)
  output.note(`${green('✓')} '${name}' is confirmed`)
  for (const note of kept.notes) output.note(`${yellow('!')} ${safe(note)}`)
  if (!output.quiet && kept.configuration) output.note(`\n${safe(kept.configuration)}`)
  output.print(kept, () => '')
}

/** Asks over new connections, as those before may have been cut, until all answer that did before. */
async function confirmWhenReached(context: Context, name: string): Promise<HostBridge> {
  const { signal } = context
  for (;;) {
    signal.throwIfAborted()
    const found = await context
      .connected(({ hostBridges }) => hostBridges.get(name))
      .catch((error: unknown) => {
        if (error instanceof VisorError && error.code !== 'not-found') return undefined
        throw wentBack(name)
      })
    if (found && found.state !== 'pending') throw wentBack(name)
    if (found?.reached) return context.connected(({ hostBridges }) => hostBridges.confirm(name, { signal }))
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

function wentBack(name: string): VisorError {
  return new VisorError(
    'failed',
    `The bridge '${name}' was taken back: gateways that were reached before were not reached by it.`,
    {
      object: { kind: 'host bridge', name },
      remedy:
        'The card has all that it had. Its switch may refuse more than one MAC address (port security).',
    },
  )
}

async function keep({ connected, output, signal }: Context, name: string): Promise<void> {
  const kept = await connected(({ hostBridges }) => hostBridges.confirm(name, { signal }))
  output.note(`${output.noteColours.green('✓')} '${safe(name)}' is confirmed`)
  output.print(kept, () => '')
}

async function takeBack(
  { connected, output, signal }: Context,
  name: string,
  how: 'cancel' | 'remove',
): Promise<void> {
  await connected(async ({ hostBridges }) => {
    const { nic } = await hostBridges.get(name)
    await hostBridges[how](name, { signal })
    output.note(`${output.noteColours.green('✓')} '${safe(name)}' is gone, and '${nic}' has all back`)
  })
}

async function list({ connected, output }: Context): Promise<void> {
  const found = await connected(({ hostBridges }) => hostBridges.list())
  const { colours, columns } = output
  output.print(found, () => {
    if (output.quiet) return found.map(({ name }) => `${name}\n`).join('')
    if (found.length === 0)
      output.note(
        "No bridge was made from a network card: 'visor host-bridge create br0 --from eth0' makes one.",
      )
    if (found.length === 0) return ''
    return formatTable<HostBridge>(
      [
        { title: 'bridge', value: ({ name }) => name, style: (text) => colours.bold(text) },
        { title: 'card', value: ({ nic }) => nic },
        { title: 'state', value: ({ state }) => state },
        { title: 'addresses', value: ({ addresses }) => addresses.join(' '), shrinkTo: 12 },
        {
          title: 'note',
          value: ({ message, confirmBy }) => message ?? (confirmBy ? `until ${confirmBy}` : ''),
          shrinkTo: 8,
        },
      ],
      found,
      { width: columns, styleTitle: colours.dim },
    )
  })
}
