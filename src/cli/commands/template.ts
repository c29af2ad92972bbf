import type { Command } from 'commander'
import type { Template } from '../../model/index.ts'
import { type Context, checkCancelled } from '../context.ts'
import { addExamples } from '../help.ts'
import { formatSection, safe } from '../page.ts'
import { withProgress } from '../progress.ts'
import { reportError } from '../report-error.ts'
import { formatTable } from '../table.ts'
import { formatAgo, formatBytes, formatKiB, parseCount } from '../units.ts'

export function configure(command: Command, context: Context): void {
  command.description('Keep booted machines as templates, of which visor clone --live makes running copies.')
  const create = command
    .command('create')
    .description('Make a template of a running machine, which goes on.')
    .argument('<domain>', 'name or uuid of the machine')
    .argument('[template]', "name of the template; the machine's without")
    .option('--pool <count>', 'copies to keep ready, so that a clone is there at once')
    .action((domain: string, template: string | undefined, flags: { pool?: string }) =>
      createTemplate(context, domain, template ?? domain, flags),
    )
  const list = command
    .command('list', { isDefault: true })
    .description('List templates.')
    .action(() => listTemplates(context))
  const show = command
    .command('show')
    .description('Show a template and its clones.')
    .argument('<template>', 'its name')
    .action((name: string) => showTemplate(context, name))
  const remove = command
    .command('remove')
    .alias('rm')
    .description('Remove templates. Refused while clones depend on them, or they are pinned.')
    .argument('<templates...>', 'their names')
    .action((names: string[]) =>
      each(context, names, 'is removed', async (name, { connection, signal }) => {
        await connection.templates.remove(name, { signal })
      }),
    )
  const pin = command
    .command('pin')
    .description('Protect templates from removal.')
    .argument('<templates...>', 'their names')
    .action((names: string[]) => setPinned(context, names, true))
  const unpin = command
    .command('unpin')
    .description('Let templates be removed again.')
    .argument('<templates...>', 'their names')
    .action((names: string[]) => setPinned(context, names, false))
  const pool = command
    .command('pool')
    .description('Set how many copies of a template are kept ready. Each takes memory; 0 ends them.')
    .argument('<template>', 'its name')
    .argument('<count>', 'how many')
    .action((name: string, count: string) => setPool(context, name, count))
  addExamples(command, [
    ['visor template create web', 'a template of the running machine web'],
    ['visor clone --live web 3', 'three running copies of it'],
  ])
  addExamples(create, [
    ['visor template create web gold', 'memory and devices of web, kept as gold'],
    ['visor template create web gold --pool 4', 'and four copies that wait'],
  ])
  addExamples(list, [['visor template list', 'what there is']])
  addExamples(show, [['visor template show gold', 'with its clones']])
  addExamples(remove, [['visor template remove gold', 'its clones have to go first']])
  addExamples(pin, [['visor template pin gold', 'nobody removes it by mistake']])
  addExamples(unpin, [['visor template unpin gold', 'so that it can be removed']])
  addExamples(pool, [['visor template pool gold 4', 'four copies wait']])
}

const maxPool = 1000

async function createTemplate(
  { connected, output, signal }: Context,
  domain: string,
  name: string,
  { pool }: { readonly pool?: string },
): Promise<void> {
  const size = pool === undefined ? undefined : parseCount(pool, 'The pool', 0, maxPool)
  const template = await connected(async ({ templates }) => {
    const made = await withProgress(output, `Making ${name}`, signal, (call) =>
      templates.create(name, { domain, ...call }),
    )
    return size === undefined ? made : templates.setPool(name, { size, signal })
  })
  output.print(template, () => '')
  const size_ = formatBytes(template.sizeBytes)
  output.note(`${output.noteColours.green('✓')} template ${name} is made of ${domain} (${size_})`)
  if (template.identity === 'none')
    output.note(
      `  ${output.noteColours.yellow('nobody answers in the guest:')} its clones have the host name, machine-id and addresses of ${domain} inside (docs/live-clones.md)`,
    )
  output.note(`  ${output.noteColours.dim('copies of it:')} visor clone --live ${name}`)
}

const identityWords: Readonly<Record<Template['identity'], string>> = {
  hook: 'told to the hook in the guest',
  agent: 'told to the guest agent',
  none: 'that of the template: nobody answers in the guest',
}
const inOrder = new Intl.Collator('en', { numeric: true })

async function listTemplates({ connected, output }: Context): Promise<void> {
  const templates = await connected((connection) => connection.templates.list())
  const { colours, columns } = output
  output.print(templates, () => {
    if (output.quiet) return templates.map(({ name }) => `${name}\n`).join('')
    if (templates.length === 0) output.note("No templates: 'visor template create MACHINE' makes one.")
    if (templates.length === 0) return ''
    return formatTable<Template>(
      [
        { title: 'name', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 10 },
        { title: 'made of', value: ({ domain }) => domain, shrinkTo: 8 },
        { title: 'memory', value: ({ memoryKiB }) => formatKiB(memoryKiB), align: 'right' },
        { title: 'on host', value: ({ sizeBytes }) => formatBytes(sizeBytes), align: 'right' },
        { title: 'clones', value: ({ clones }) => String(clones.length), align: 'right' },
        {
          title: 'pool',
          value: ({ ready, pool }) => (pool === 0 ? '-' : `${ready}/${pool}`),
          align: 'right',
        },
        { title: 'pinned', value: ({ pinned }) => (pinned ? 'yes' : '-') },
        { title: 'made', value: ({ createdAt }) => formatAgo(createdAt) },
      ],
      templates,
      { width: columns, styleTitle: colours.dim },
    )
  })
}

async function showTemplate({ connected, output }: Context, name: string): Promise<void> {
  const { template, names } = await connected(async ({ templates, domains }) => {
    const found = await templates.get(name)
    const clones = found.clones.length === 0 ? [] : await domains.list()
    const nameOf = (uuid: string) => clones.find((one) => one.uuid === uuid)?.name ?? uuid
    return { template: found, names: found.clones.map(nameOf).sort(inOrder.compare) }
  })
  output.print(template, () => {
    const { colours } = output
    const { domain, createdAt, memoryKiB, sizeBytes, pinned, pool, ready, disks } = template
    return [
      `${colours.bold(safe(template.name) ?? '')}  a template of ${safe(domain)}\n`,
      formatSection(colours, '', [
        ['memory', formatKiB(memoryKiB)],
        ['on host', formatBytes(sizeBytes)],
        ['made', `${formatAgo(createdAt)} ${colours.dim(`(${createdAt})`)}`],
        ['identity', identityWords[template.identity]],
        ['disks', disks.length === 0 ? undefined : disks.map(safe).join(', ')],
        ['pinned', pinned ? 'yes' : 'no'],
        ['pool', pool === 0 ? 'none' : `${ready} of ${pool} ready`],
        ['clones', names.length === 0 ? 'none' : names.map(safe).join(', ')],
      ]),
    ].join('\n')
  })
}

function setPinned(context: Context, names: readonly string[], pinned: boolean): Promise<void> {
  return each(context, names, pinned ? 'is pinned' : 'is no longer pinned', (name, { connection, signal }) =>
    connection.templates.setPinned(name, { pinned, signal }),
  )
}

async function setPool({ connected, output, signal }: Context, name: string, count: string): Promise<void> {
  const size = parseCount(count, 'The pool', 0, maxPool)
  const template = await connected(({ templates }) => templates.setPool(name, { size, signal }))
  output.print(template, () => '')
  const kept = size === 0 ? 'no copies ready' : size === 1 ? 'one copy ready' : `${size} copies ready`
  output.note(`${output.noteColours.green('✓')} template ${name} keeps ${kept}`)
}

type Connected = Parameters<Parameters<Context['connected']>[0]>[0]

/** Does the same to each; a failure is reported and the rest goes on. */
async function each(
  context: Context,
  names: readonly string[],
  done: string,
  change: (name: string, call: { connection: Connected; signal: AbortSignal }) => Promise<unknown>,
): Promise<void> {
  const { output, signal } = context
  await context.connected(async (connection) => {
    for (const name of new Set(names)) {
      checkCancelled(signal)
      try {
        await change(name, { connection, signal })
        output.note(`${output.noteColours.green('✓')} template ${name} ${done}`)
      } catch (error) {
        context.failWith(reportError(error, output))
      }
    }
  })
}
