import type { Command } from 'commander'
import { type CompleteConnection, type CreateSnapshotOptions, snapshotRequest } from '../../driver/index.ts'
import {
  type DomainDefinition,
  diffDefinitions,
  formatSnapshot,
  parseSnapshot,
  type Snapshot,
  type SnapshotDefinition,
  VisorError,
} from '../../model/index.ts'
import type { Context } from '../context.ts'
import { parseDiskSpec, parseMemSpec } from '../diskspec.ts'
import { loadAs } from '../documents.ts'
import { addExamples } from '../help.ts'
import type { Colours, Output } from '../output.ts'
import { formatSection, safe } from '../page.ts'
import { withProgress } from '../progress.ts'
import { formatTable } from '../table.ts'
import { safeText } from '../text-width.ts'
import { formatAgo } from '../units.ts'

export function configure(command: Command, context: Context): void {
  command.description('Keep machines as they are at a point in time, and take them back to it.')
  const create = command
    .command('create')
    .description('Take a snapshot: of the disks, and of the memory too when the machine runs.')
    .argument('<domain>', 'name or uuid')
    .argument('[name]', 'of the snapshot; made from the time without')
    .argument('[description]', 'any text about it')
    .option('--xml <file>', "as libvirt's XML (or YAML, JSON) describes it; '-' is standard input")
    .option('-d, --description <text>', 'any text about it')
    .option('--disk-only', 'only the disks, also of a machine that runs')
    .option('--internal', 'keep it in the images themselves, which must be qcow2')
    .option('--external', 'keep the images as they are, and go on in overlays')
    .option('--live', 'let the guest go on while its memory is written')
    .option('--quiesce', 'have the guest agent freeze the file systems meanwhile')
    .option('--disk <target>', 'only this disk; repeat for more', collect, [])
    .option('--diskspec <disk>', 'vda,snapshot=no|internal|external,file=/path; repeat for more', collect, [])
    .option('--memspec <memory>', 'file=/path,snapshot=no|internal|external')
    .option('--print-xml', 'only print what would be asked for, as XML')
    .option('--atomic', 'all disks or none, which is always so')
    .action((domain: string, name: string | undefined, description: string | undefined, flags: CreateFlags) =>
      createSnapshot(context, domain, name, { ...(description !== undefined && { description }), ...flags }),
    )
  command
    .command('create-from', { hidden: true })
    .description('Take a snapshot as a file describes it.')
    .argument('<domain>', 'name or uuid')
    .argument('[file]', "libvirt's XML, YAML or JSON; '-' is standard input")
    .option('--disk-only', 'only the disks, also of a machine that runs')
    .option('--live', 'let the guest go on while its memory is written')
    .option('--quiesce', 'have the guest agent freeze the file systems meanwhile')
    .option('--atomic', 'all disks or none, which is always so')
    .action((domain: string, file: string | undefined, flags: Omit<CreateFlags, 'disk' | 'diskspec'>) =>
      createSnapshot(context, domain, undefined, {
        disk: [],
        diskspec: [],
        ...flags,
        ...(file !== undefined && { xml: file }),
      }),
    )
  const list = command
    .command('list')
    .description('List the snapshots of a machine.')
    .argument('<domain>', 'name or uuid')
    .option('--tree', 'as a tree')
    .action((domain: string, { tree }: { tree?: true }) => listSnapshots(context, domain, tree ?? false))
  const tree = command
    .command('tree')
    .description('Show which snapshot came after which.')
    .argument('<domain>', 'name or uuid')
    .action((domain: string) => listSnapshots(context, domain, true))
  const show = command
    .command('show')
    .description('Show a snapshot and the files it has; the current one without a name.')
    .argument('<domain>', 'name or uuid')
    .argument('[name]', 'of the snapshot')
    .option('--xml', "as libvirt's XML, with the machine as it was")
    .option('--yaml', 'the same as YAML')
    .action((domain: string, name: string | undefined, flags: ShowFlags) =>
      showSnapshot(context, domain, name, flags),
    )
  const revert = command
    .command('revert')
    .description(
      'Take a machine back to a snapshot. What it was since is lost, unless another snapshot has it.',
    )
    .argument('<domain>', 'name or uuid')
    .argument('[name]', 'of the snapshot; the current one without')
    .option('--running', 'have it running afterwards')
    .option('--paused', 'have it paused afterwards')
    .action((domain: string, name: string | undefined, flags: { running?: true; paused?: true }) =>
      revertSnapshot(context, domain, name, flags),
    )
  const remove = command
    .command('remove')
    .alias('rm')
    .alias('delete')
    .description('Remove a snapshot; what the machine and others need of its data is joined with theirs.')
    .argument('<domain>', 'name or uuid')
    .argument('<name>', 'of the snapshot')
    .option('--children', 'its children as well')
    .option('--children-only', 'only its children')
    .option('--metadata', 'forget it, and leave what it keeps')
    .action((domain: string, name: string, flags: RemoveFlags) =>
      removeSnapshot(context, domain, name, flags),
    )
  addExamples(command, [
    ['visor snapshot create web before-upgrade', 'disks, and memory when it runs'],
    ['visor snapshot revert web before-upgrade', 'and back'],
  ])
  addExamples(create, [
    ['visor snapshot create web', 'its name is the time'],
    ['visor snapshot create web night --disk-only --quiesce', 'only the disks, with file systems at rest'],
    ['visor snapshot create web --xml night.xml', "what libvirt's <domainsnapshot> asks for"],
  ])
  addExamples(list, [['visor snapshot list web', 'oldest first']])
  addExamples(tree, [['visor snapshot tree web', 'the current one is marked']])
  addExamples(show, [
    ['visor snapshot show web', 'the current one'],
    ['visor snapshot show web night --xml', 'what virsh snapshot-dumpxml prints'],
  ])
  addExamples(revert, [['visor snapshot revert web first --paused', 'to look at it before it goes on']])
  addExamples(remove, [['visor snapshot remove web first --children', 'with all that came after it']])
}

const collect = (value: string, before: readonly string[]) => [...before, value]

interface CreateFlags {
  readonly description?: string
  readonly diskOnly?: true
  readonly internal?: true
  readonly external?: true
  readonly live?: true
  readonly quiesce?: true
  readonly disk: readonly string[]
  readonly diskspec: readonly string[]
  readonly memspec?: string
  readonly xml?: string
  readonly printXml?: true
}

/** What a file and the words of virsh ask for; undefined where there are none. */
async function readWanted({
  xml,
  diskspec,
  memspec,
  printXml,
}: CreateFlags): Promise<SnapshotDefinition | undefined> {
  if (xml === undefined && diskspec.length === 0 && memspec === undefined && !printXml) return undefined
  const base = xml === undefined ? parseSnapshot('{}') : await loadAs(xml, parseSnapshot)
  return {
    ...base,
    ...(memspec !== undefined && parseMemSpec(memspec)),
    disks: [...base.disks, ...diskspec.map(parseDiskSpec)],
  }
}

async function createSnapshot(
  context: Context,
  domain: string,
  name: string | undefined,
  flags: CreateFlags,
): Promise<void> {
  const { description, diskOnly, internal, external, live, quiesce, disk } = flags
  const { output, signal } = context
  const wanted = await readWanted(flags)
  if (flags.printXml && wanted) {
    const whole = {
      ...wanted,
      ...(name !== undefined && { name }),
      ...(description !== undefined && { description }),
    }
    output.print(whole, () => formatSnapshot(whole, 'xml'))
    return
  }
  if (internal && external)
    throw new VisorError('invalid-argument', 'A snapshot is either internal or external, not both.')
  const options: CreateSnapshotOptions = {
    ...(name !== undefined && { name }),
    ...(description !== undefined && { description }),
    ...(diskOnly && { diskOnly }),
    ...(internal && { kind: 'internal' }),
    ...(external && { kind: 'external' }),
    ...(live && { live }),
    ...(quiesce && { quiesce }),
    ...(disk.length > 0 && { disks: disk }),
  }
  const taken = await context.connected(async (connection) => {
    const asked = wanted && snapshotRequest(wanted, await connection.domains.describe(domain))
    return withProgress(output, `Taking a snapshot of ${domain}`, signal, (call) =>
      connection.snapshots.create(domain, { ...asked, ...options, ...call }),
    )
  })
  output.print(taken, () => (output.quiet ? `${taken.name}\n` : ''))
  output.note(
    `${output.noteColours.green('✓')} snapshot ${safeText(taken.name)} of ${safeText(domain)} is taken: ${describeContent(taken)}`,
  )
}

function describeContent({ memory, disks }: Snapshot): string {
  const kept = disks.filter(({ snapshot }) => snapshot !== 'no')
  const names = kept.map(({ name }) => name).join(', ')
  const where = kept[0]?.snapshot === 'internal' ? 'within the images' : 'below overlays'
  return `${names || 'no disks'} ${kept.length > 0 ? where : ''}${memory === 'no' ? '' : ', with memory'}`.trim()
}

async function listSnapshots({ connected, output }: Context, domain: string, asTree: boolean): Promise<void> {
  const snapshots = await connected((connection) => connection.snapshots.list(domain))
  output.print(snapshots, () => {
    if (output.quiet) return snapshots.map(({ name }) => `${name}\n`).join('')
    if (snapshots.length === 0) {
      output.note(`No snapshots: 'visor snapshot create ${domain}' takes one.`)
      return ''
    }
    return asTree ? formatTree(snapshots, output.colours) : formatSnapshots(snapshots, output)
  })
}

function formatSnapshots(snapshots: readonly Snapshot[], { colours, columns }: Output): string {
  return formatTable<Snapshot>(
    [
      { title: 'name', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 8 },
      { title: 'taken', value: ({ createdAt }) => formatAgo(createdAt) },
      { title: 'state', value: ({ state }) => state },
      { title: 'disks', value: ({ disks }) => keptKinds(disks) },
      { title: 'memory', value: ({ memory }) => memory },
      { title: 'after', value: ({ parent = '' }) => parent, shrinkTo: 8 },
      { title: '', value: ({ current }) => (current ? 'current' : ''), style: (text) => colours.green(text) },
    ],
    snapshots,
    { width: columns, styleTitle: colours.dim },
  )
}

function keptKinds(disks: Snapshot['disks']): string {
  const kinds = new Set(disks.map(({ snapshot }) => snapshot).filter((kind) => kind !== 'no'))
  return kinds.size === 0 ? 'no' : [...kinds].join(', ')
}

/** Each below the one it came after. */
function formatTree(snapshots: readonly Snapshot[], colours: Colours): string {
  const lines: string[] = []
  const walk = (parent: string | undefined, indent: string) => {
    const children = snapshots.filter((one) => one.parent === parent)
    children.forEach(({ name, current, createdAt }, index) => {
      const isLast = index === children.length - 1
      const branch = parent === undefined ? '' : `${indent}${isLast ? '└─ ' : '├─ '}`
      const mark = current ? ` ${colours.green('(current)')}` : ''
      lines.push(`${branch}${colours.bold(safeText(name))}${mark}  ${colours.dim(formatAgo(createdAt))}\n`)
      walk(name, parent === undefined ? '' : `${indent}${isLast ? '   ' : '│  '}`)
    })
  }
  walk(undefined, '')
  return lines.join('')
}

/** The snapshot of this name, or the current one. */
async function find(
  { snapshots }: Pick<CompleteConnection, 'snapshots'>,
  domain: string,
  name: string | undefined,
): Promise<Snapshot> {
  if (name !== undefined) return snapshots.get(domain, name)
  const current = (await snapshots.list(domain)).find((one) => one.current)
  if (current) return current
  throw new VisorError('invalid-argument', `'${domain}' has no current snapshot.`, {
    remedy: `Name one; 'visor snapshot list ${domain}' has them.`,
  })
}

interface ShowFlags {
  readonly xml?: true
  readonly yaml?: true
}

async function showSnapshot(
  { connected, output }: Context,
  domain: string,
  name: string | undefined,
  { xml, yaml }: ShowFlags,
): Promise<void> {
  if (xml || yaml) {
    const definition = await connected(async (connection) =>
      connection.snapshots.describe(domain, (await find(connection, domain, name)).name),
    )
    output.print(definition, () => formatSnapshot(definition, xml ? 'xml' : 'yaml'))
    return
  }
  const snapshot = await connected((connection) => find(connection, domain, name))
  output.print(snapshot, () => formatSnapshotPage(snapshot, output.colours))
}

function formatSnapshotPage(snapshot: Snapshot, colours: Colours): string {
  const { name, state, createdAt, parent, memory, memoryFile, description, current, disks } = snapshot
  const lines = disks
    .filter((disk) => disk.snapshot !== 'no')
    .map((disk) => [disk.name, `${disk.snapshot}  ${safe(disk.file) ?? ''}`] as const)
  return [
    `${colours.bold(safeText(name))}${current ? `  ${colours.green('current')}` : ''}\n`,
    formatSection(colours, '', [
      ['state', state],
      ['taken', `${formatAgo(createdAt)} ${colours.dim(`(${createdAt})`)}`],
      ['after', safe(parent)],
      ['memory', memoryFile === undefined ? memory : `${memory}  ${safe(memoryFile)}`],
      ['about', safe(description)],
    ]),
    formatSection(colours, 'Disks', lines),
  ]
    .filter((section) => section !== '')
    .join('\n')
}

async function revertSnapshot(
  context: Context,
  domain: string,
  name: string | undefined,
  { running, paused }: { running?: true; paused?: true },
): Promise<void> {
  const { output, signal } = context
  if (running && paused)
    throw new VisorError('invalid-argument', 'The machine is either running or paused afterwards, not both.')
  const { snapshot, after, changed } = await context.connected(async (connection) => {
    const snapshot = await find(connection, domain, name)
    const before = await connection.domains.describe(domain, { inactive: true })
    await withProgress(output, `Taking ${domain} back`, signal, (call) =>
      connection.snapshots.revert(domain, snapshot.name, {
        ...call,
        ...(running && { running }),
        ...(paused && { paused }),
      }),
    )
    const definition = await connection.domains.describe(domain, { inactive: true })
    return {
      snapshot,
      changed: changedParts(before, definition),
      after: await connection.domains.get(domain),
    }
  })
  output.print(after, () => '')
  output.note(
    `${output.noteColours.green('✓')} ${safeText(domain)} is back at ${safeText(snapshot.name)}, and ${after.state}`,
  )
  if (changed.length > 0)
    output.note(`Its definition is that of the snapshot again: ${safeText(changed.join(', '))}`)
}

/** What differs between two definitions, but for the files that a revert gives the disks. */
function changedParts(before: DomainDefinition, after: DomainDefinition): string[] {
  const paths = diffDefinitions(before, after).map(({ path }) => path)
  return paths.filter((path) => !/^devices\.disks\[.*\]\.(?:file|block|type|format|backingStore)/u.test(path))
}

interface RemoveFlags {
  readonly children?: true
  readonly childrenOnly?: true
  readonly metadata?: true
}

async function removeSnapshot(
  context: Context,
  domain: string,
  name: string,
  { children, childrenOnly, metadata }: RemoveFlags,
): Promise<void> {
  const { output, signal } = context
  await context.connected((connection) =>
    withProgress(output, `Removing ${name}`, signal, (call) =>
      connection.snapshots.remove(domain, name, {
        ...call,
        ...(children && { children }),
        ...(childrenOnly && { childrenOnly }),
        ...(metadata && { metadataOnly: true }),
      }),
    ),
  )
  const what = childrenOnly ? `the children of ${name} are` : `snapshot ${name} is`
  output.note(`${output.noteColours.green('✓')} ${safeText(what)} removed`)
}
