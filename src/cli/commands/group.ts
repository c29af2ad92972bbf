import { type Command, Option } from 'commander'
import type { AllowOptions } from '../../driver/index.ts'
import { type GroupRule, groupProtocols, type SecurityGroup, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { safe } from '../page.ts'
import { formatTable } from '../table.ts'
import { parseCount } from '../units.ts'

export function configure(command: Command, context: Context): void {
  command.description(
    'Security groups: machines that belong to one get only what it lets in, and answers to what they ask.',
  )
  const sub = (name: string, description: string) => command.command(name).description(description)
  const list = command
    .command('list', { isDefault: true })
    .description('List them, and who belongs to them.')
    .action(() => listGroups(context))
  const create = sub('create', 'Make a group that lets nobody in.')
    .argument('<group>', 'its name')
    .action((name: string) =>
      change(context, (groups, signal) => groups.create(name, { signal }), `group ${safe(name)} is there`),
    )
  const show = sub('show', 'Show what a group lets pass.')
    .argument('<group>', 'its name')
    .action((name: string) => showGroup(context, name))
  const allow = sub('allow', 'Let something in to machines of a group, at once.')
    .argument('<group>', 'its name')
    .argument('<what>', 'tcp:PORT, tcp:FIRST-LAST, udp:PORT, tcp, udp, icmp or any')
    .option('--from <peer>', 'only from this address, subnet or group')
    .addOption(
      new Option(
        '--to <peer>',
        "let it out to this address, subnet or group ('any'), and nothing else",
      ).conflicts('from'),
    )
    .action((name: string, what: string, flags: { from?: string; to?: string }) =>
      change(
        context,
        (groups, signal) => groups.allow(name, { ...parseRule(what, flags), signal }),
        `group ${safe(name)} lets ${safe(what)} ${flags.to === undefined ? 'in' : 'out'}`,
      ),
    )
  const revoke = sub('revoke', 'Take a rule back.')
    .argument('<group>', 'its name')
    .argument('<rule>', "its id, from 'visor group show'")
    .action((name: string, rule: string) =>
      change(
        context,
        (groups, signal) => groups.revoke(name, { rule, signal }),
        `group ${safe(name)} no longer has the rule ${safe(rule)}`,
      ),
    )
  const join = sub('join', 'Have a machine belong to a group, at once.')
    .argument('<group>', 'its name')
    .argument('<domain>', 'name or uuid of the machine')
    .action((name: string, domain: string) =>
      change(
        context,
        (groups, signal) => groups.join(name, { domain, signal }),
        `${safe(domain)} belongs to group ${safe(name)}`,
      ),
    )
  const leave = sub('leave', 'Have a machine belong to a group no longer.')
    .argument('<group>', 'its name')
    .argument('<domain>', 'name or uuid of the machine')
    .action((name: string, domain: string) =>
      change(
        context,
        (groups, signal) => groups.leave(name, { domain, signal }),
        `${safe(domain)} no longer belongs to group ${safe(name)}`,
      ),
    )
  const remove = sub('remove', 'Forget a group that nobody belongs to.')
    .alias('rm')
    .argument('<group>', 'its name')
    .action((name: string) =>
      change(context, (groups, signal) => groups.remove(name, { signal }), `group ${safe(name)} is removed`),
    )
  addExamples(command, [['visor group create web', 'then allow, and join']])
  addExamples(list, [['visor group list', 'what there is']])
  addExamples(create, [['visor group create web', 'lets nobody in yet']])
  addExamples(show, [['visor group show web', 'its rules and machines']])
  addExamples(allow, [
    ['visor group allow web tcp:80', 'anybody, to port 80'],
    ['visor group allow db tcp:5432 --from web', 'machines of the group web'],
    ['visor group allow web tcp:22 --from 10.0.0.0/8', 'one subnet'],
    ['visor group allow db udp:53 --to 192.168.122.1', 'out to there, and nowhere else'],
  ])
  addExamples(revoke, [['visor group revoke web 1f2e3d4c', 'the rule of this id']])
  addExamples(join, [['visor group join web web1', 'it gets only what web lets in']])
  addExamples(leave, [['visor group leave web web1', 'it gets what it got before']])
  addExamples(remove, [['visor group remove web', 'once nobody belongs to it']])
}

/** What a rule is about, as people write it. Fails with `invalid-argument`. */
export function parseRule(what: string, { from, to }: { from?: string; to?: string }): AllowOptions {
  const [, word = '', first, last] = /^([a-z]+)(?::(\d+)(?:-(\d+))?)?$/u.exec(what) ?? []
  const proto = groupProtocols.find((one) => one === word)
  if (!proto)
    throw new VisorError('invalid-argument', `'${what}' is nothing that could be let pass.`, {
      remedy: `Write tcp:80, tcp:8000-8010, udp:53, or one of: ${groupProtocols.join(', ')}.`,
    })
  const port = (text: string) => parseCount(text, 'The port', 1, 65_535)
  const peer = to === 'any' ? undefined : (to ?? from)
  return {
    ...{ proto, direction: to === undefined ? 'in' : 'out' },
    ...(first === undefined ? {} : { start: port(first) }),
    ...(last === undefined ? {} : { end: port(last) }),
    ...(peer === undefined ? {} : { peer }),
  }
}

type Groups = Parameters<Parameters<Context['connected']>[0]>[0]['groups']

async function change(
  { connected, output, signal }: Context,
  work: (groups: Groups, signal: AbortSignal) => Promise<unknown>,
  done: string,
): Promise<void> {
  await connected(({ groups }) => work(groups, signal))
  output.note(`${output.noteColours.green('✓')} ${done}`)
}

async function listGroups({ connected, output }: Context): Promise<void> {
  const groups = await connected((connection) => connection.groups.list())
  const { colours, columns } = output
  output.print(groups, () => {
    if (output.quiet) return groups.map(({ name }) => `${name}\n`).join('')
    if (groups.length === 0) output.note("No groups: 'visor group create NAME' makes one.")
    if (groups.length === 0) return ''
    return formatTable<SecurityGroup>(
      [
        { title: 'name', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 10 },
        { title: 'rules', value: ({ rules }) => String(rules.length), align: 'right' },
        {
          title: 'machines',
          value: ({ members }) => members.map(({ name }) => name).join(' '),
          shrinkTo: 10,
        },
      ],
      groups,
      { width: columns, styleTitle: colours.dim },
    )
  })
}

async function showGroup({ connected, output }: Context, name: string): Promise<void> {
  const group = await connected(({ groups }) => groups.get(name))
  const { colours, columns } = output
  output.print(group, () => {
    const machines = group.members.map((one) => safe(one.name)).join(', ')
    const head = `${colours.bold(safe(group.name) ?? '')}  ${machines === '' ? 'no machines' : machines}\n`
    if (group.rules.length === 0) return `${head}Lets nobody in.\n`
    const table = formatTable<GroupRule>(
      [
        { title: 'id', value: ({ id }) => id, style: (text) => colours.dim(text) },
        { title: 'way', value: ({ direction }) => direction },
        { title: 'what', value: formatWhat },
        { title: 'peer', value: ({ peer = 'anybody' }) => peer },
      ],
      group.rules,
      { width: columns, styleTitle: colours.dim },
    )
    return `${head}${table}`
  })
}

function formatWhat({ proto, start, end }: GroupRule): string {
  if (start === undefined) return proto
  return `${proto}:${start}${end === undefined || end === start ? '' : `-${end}`}`
}
