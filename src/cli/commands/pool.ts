import { type Command, Option } from 'commander'
import type { CompleteConnection } from '../../driver/index.ts'
import { formatPoolDefinition, type Pool, parsePoolDefinition, poolTypes } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addEdit, changeEach, defineFrom } from '../defined-objects.ts'
import { addExamples } from '../help.ts'
import { buildPool, type NewPoolFlags } from '../new-pool.ts'
import { formatSection, safe } from '../page.ts'
import { formatTable } from '../table.ts'
import { formatBytes } from '../units.ts'

const kind = {
  noun: 'pool',
  command: 'pool',
  part: ({ pools }: CompleteConnection) => pools,
  parse: parsePoolDefinition,
  format: formatPoolDefinition,
}

export function configure(command: Command, context: Context): void {
  command.description(
    'Make pools of storage that disks are kept in, see what is in them, and take them away.',
  )
  const sub = (name: string, description: string) => command.command(name).description(description)
  const list = command
    .command('list', { isDefault: true })
    .description('List them: what they are made of, and how much room they have.')
    .action(() => listPools(context))
  const create = sub('create', 'Make a pool, start it, and have it start with the host.')
    .argument('<name>', 'its name')
    .argument('[path]', 'folder of this host where its disks are')
    .addOption(new Option('--type <type>', 'what it is made of').choices(poolTypes).default('dir'))
    .option('--device <device...>', 'block devices that it is on')
    .option('--host <host...>', 'servers that it is on: HOST or HOST:PORT')
    .option('--export <path>', 'folder of the server')
    .option('--source-name <name>', 'name of the volume group, or of the pool on the server')
    .option('--format <format>', 'kind of file system: ext4, xfs, nfs')
    .option('--mount-option <option...>', 'options of its mount')
    .option('--initiator <iqn>', 'iSCSI name of this host')
    .option('--user <name>', 'who logs in to the server')
    .option('--secret <secret>', 'with which secret: its uuid, or what it is for')
    .option('--overwrite', 'what is on the devices may be lost')
    .action((name: string, path: string | undefined, flags: NewPoolFlags) =>
      createPool(context, name, path, flags),
    )
  const define = sub('define', 'Make pools known from files of XML, YAML or JSON.')
    .argument('<files...>', "files, '-'")
    .action((files: string[]) => defineFrom(context, kind, files))
  const show = sub('show', 'Show a pool: where it is, and how much room it has.')
    .argument('<pool>', 'its name or uuid')
    .option('--xml', "the definition as libvirt's XML")
    .option('--yaml', 'the definition as YAML')
    .action((name: string, flags: ShowFlags) => showPool(context, name, flags))
  const edit = addEdit(command, context, kind, 'once it is stopped')
  const start = sub('start', 'Make the disks of pools usable.')
    .argument('<pools...>', 'their names or uuids')
    .option('--build', 'make what it is made of where that is missing')
    .action((names: string[], { build }: { build?: true }) =>
      changeEach(context, kind, names, 'is started', (pools, name, signal) =>
        pools.start(name, { ...(build && { build }), signal }),
      ),
    )
  const stop = sub('stop', 'Take pools away until their next start; what is in them stays.')
    .alias('destroy')
    .argument('<pools...>', 'their names or uuids')
    .action((names: string[]) =>
      changeEach(context, kind, names, 'is stopped', (pools, name, signal) =>
        pools.destroy(name, { signal }),
      ),
    )
  const refresh = sub('refresh', 'Look anew what is in pools.')
    .argument('<pools...>', 'their names or uuids')
    .action((names: string[]) =>
      changeEach(context, kind, names, 'is looked at anew', (pools, name, signal) =>
        pools.refresh(name, { signal }),
      ),
    )
  const build = sub('build', 'Make what a pool is made of: a folder, a file system.')
    .argument('<pool>', 'its name or uuid')
    .option('--overwrite', 'what is on its devices may be lost')
    .action((name: string, { overwrite }: { overwrite?: true }) =>
      changeEach(context, kind, [name], 'is built', (pools, one, signal) =>
        pools.build(one, { ...(overwrite && { overwrite }), signal }),
      ),
    )
  const remove = sub('remove', 'Forget pools; what is in them stays.')
    .alias('rm')
    .alias('undefine')
    .argument('<pools...>', 'their names or uuids')
    .option('--storage', 'also remove what they are made of, which must be empty')
    .action((names: string[], { storage = false }: { storage?: boolean }) =>
      changeEach(context, kind, names, 'is removed', async (pools, name, signal) => {
        if (storage) await pools.delete(name, { signal })
        await pools.undefine(name, { signal })
      }),
    )
  const autostart = sub('autostart', 'Start a pool with the host, or no longer.')
    .argument('<pool>', 'its name or uuid')
    .option('--disable', 'no longer')
    .action((name: string, { disable = false }: { disable?: boolean }) =>
      changeEach(
        context,
        kind,
        [name],
        disable ? 'no longer starts by itself' : 'starts with the host',
        (pools, one, signal) => pools.setAutostart(one, { enabled: !disable, signal }),
      ),
    )
  addExamples(command, [['visor pool list', 'what there is']])
  addExamples(list, [['visor pool list', 'what there is']])
  addExamples(create, [
    ['visor pool create fast /mnt/nvme/visor', 'a folder'],
    ['visor pool create data /mnt/data --type fs --device /dev/sdb1', 'a file system, mounted there'],
    ['visor pool create iso /mnt/iso --type netfs --host nas --export /iso', 'a folder of a server (NFS)'],
  ])
  addExamples(define, [['visor pool define images.xml', 'what virsh pool-dumpxml printed']])
  addExamples(show, [['visor pool show default', 'where the disks are']])
  addExamples(edit, [['EDITOR=nano visor pool edit data', 'as XML, in nano']])
  addExamples(start, [['visor pool start data', 'mounts it']])
  addExamples(stop, [['visor pool stop data', 'unmounts it']])
  addExamples(refresh, [['visor pool refresh data', 'after files were copied there']])
  addExamples(build, [['visor pool build data', 'a file system on its device']])
  addExamples(remove, [['visor pool remove data', 'once it is stopped']])
  addExamples(autostart, [['visor pool autostart data', 'from the next start of the host on']])
}

async function listPools({ connected, output }: Context): Promise<void> {
  const pools = await connected((connection) => connection.pools.list())
  const { colours, columns } = output
  const bytes = (size: number | undefined) => (size === undefined ? '' : formatBytes(size))
  output.print(pools, () => {
    if (output.quiet) return pools.map(({ name }) => `${name}\n`).join('')
    if (pools.length === 0) output.note("No pools: 'visor pool create NAME FOLDER' makes one.")
    if (pools.length === 0) return ''
    return formatTable<Pool>(
      [
        { title: 'name', value: ({ name }) => name, style: (text) => colours.bold(text), shrinkTo: 10 },
        {
          title: 'state',
          value: ({ active, message }) => (active ? (message ? 'faulty' : 'active') : 'off'),
        },
        { title: 'type', value: ({ type }) => type },
        {
          title: 'volumes',
          value: ({ volumes }) => (volumes === undefined ? '' : String(volumes)),
          align: 'right',
        },
        { title: 'size', value: ({ capacityBytes }) => bytes(capacityBytes), align: 'right' },
        { title: 'free', value: ({ availableBytes }) => bytes(availableBytes), align: 'right' },
        { title: 'autostart', value: ({ autostart }) => (autostart ? 'yes' : 'no') },
        { title: 'path', value: ({ path = '' }) => path, style: (text) => colours.dim(text), shrinkTo: 10 },
      ],
      pools,
      { width: columns, styleTitle: colours.dim },
    )
  })
}

async function createPool(
  { connected, output, signal }: Context,
  name: string,
  path: string | undefined,
  flags: NewPoolFlags,
): Promise<void> {
  const definition = buildPool(name, path, flags)
  const pool = await connected(async ({ pools }) => {
    const { uuid } = await pools.define(definition, { ifNoneMatch: '*', signal })
    try {
      await pools.build(uuid, { ...(flags.overwrite && { overwrite: true }), signal })
      await pools.start(uuid, { signal })
    } catch (error) {
      // Asked for as one thing, it is there as a whole or not at all.
      await pools.undefine(uuid).catch(() => {})
      throw error
    }
    await pools.setAutostart(uuid, { enabled: true, signal })
    return pools.get(uuid)
  })
  output.print(pool, () => (output.quiet ? `${pool.name}\n` : ''))
  const room = pool.availableBytes === undefined ? '' : `, ${formatBytes(pool.availableBytes)} free`
  output.note(`${output.noteColours.green('✓')} pool ${safe(name)} is there: ${pool.type}${room}`)
}

interface ShowFlags {
  readonly xml?: true
  readonly yaml?: true
}

async function showPool({ connected, output }: Context, name: string, flags: ShowFlags): Promise<void> {
  const { pool, definition } = await connected(async ({ pools }) => ({
    pool: await pools.get(name),
    definition: await pools.describe(name),
  }))
  if (flags.xml || flags.yaml) {
    output.print(definition, () => formatPoolDefinition(definition, flags.xml ? 'xml' : 'yaml'))
    return
  }
  const { colours } = output
  const { source } = definition
  const bytes = (size: number | undefined) => (size === undefined ? undefined : formatBytes(size))
  output.print({ ...pool, definition }, () =>
    [
      `${colours.bold(safe(pool.name) ?? '')}  ${pool.active ? 'active' : 'off'}\n`,
      formatSection(colours, '', [
        ['type', pool.type],
        ['path', safe(pool.path)],
        ['servers', safe(source.hosts.map((host) => host.name).join(' '))],
        ['devices', safe(source.devices.map((device) => device.path).join(' '))],
        ['size', bytes(pool.capacityBytes)],
        ['taken', bytes(pool.allocationBytes)],
        ['free', bytes(pool.availableBytes)],
        ['volumes', pool.volumes === undefined ? undefined : String(pool.volumes)],
        ['autostart', pool.autostart ? 'yes' : 'no'],
        ['uuid', pool.uuid],
        ['problem', safe(pool.message)],
      ]),
    ].join(''),
  )
}
