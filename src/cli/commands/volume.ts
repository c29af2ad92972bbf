import { basename } from 'node:path'
import { type Command, Option } from 'commander'
import {
  type DownloadFormat,
  downloadFormats,
  preallocations,
  type Volumes,
  wipeAlgorithms,
} from '../../driver/index.ts'
import { formatVolumeDefinition, VisorError, type Volume, type VolumeFormat } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { newFormats } from '../disk-spec.ts'
import { encryption } from '../encryption.ts'
import { addExamples } from '../help.ts'
import { formatSection, safe } from '../page.ts'
import { withProgress } from '../progress.ts'
import { formatTable } from '../table.ts'
import { formatAgo, formatBytes, parseSize } from '../units.ts'
import { parseChecksum, receiveFile, sendFile, standardStream } from '../volume-transfer.ts'
import { formatVolumeTree } from '../volume-tree.ts'
import { defaultPool, listVolumes, parseVolumeName, volumeName } from '../volumes.ts'

const named = "its name: 'data.qcow2', or in another pool 'fast/data.qcow2'"
const imageFormats = [...newFormats, 'vmdk', 'vdi', 'vhdx', 'vpc', 'qed'] as const
const preallocation = () =>
  new Option('--preallocation <kind>', 'what is allocated at once').choices(preallocations)

const encrypt = () =>
  new Option('--encrypt [secret]', 'encrypted (LUKS) with this secret, or with one that is made for it')

/** virsh's way to name the pool. */
const poolOption = () => new Option('--pool <pool>', 'the pool, where the name does not say it')

interface InPool {
  readonly pool?: string | undefined
}

const inPool = (name: string, { pool }: InPool) =>
  pool === undefined || name.includes('/') ? name : `${pool}/${name}`

export function configure(command: Command, context: Context): void {
  command.description('Make, copy, list and remove the disks in pools of storage.')
  const sub = (name: string, description: string) => command.command(name).description(description)
  const list = command
    .command('list', { isDefault: true })
    .description('List them, with their size on the host.')
    .argument('[pool]', 'only those of this pool')
    .option('--tree', 'what is based on what')
    .action((pool: string | undefined, { tree = false }: { tree?: boolean }) =>
      showVolumes(context, pool, tree),
    )
  const create = sub('create', 'Make an empty disk, or one that is based on another.')
    .argument('<volume>', named)
    .argument('[size]', 'size the guest sees: 20GiB; that of its base without it')
    .addOption(
      new Option('--format <format>', 'image format; qcow2, or as its name says').choices(imageFormats),
    )
    .option('--base <volume>', 'a volume, or a file, that it is based on and which must stay as it is')
    .option('--base-format <format>', 'format of a base that is no volume')
    .addOption(encrypt())
    .addOption(preallocation())
    .action((name: string, size: string | undefined, flags: CreateFlags) =>
      createVolume(context, name, size, flags),
    )
  const clone = sub('clone', 'Copy a disk: at once where the file system can share blocks.')
    .argument('<volume>', named)
    .argument('<copy>', 'name of the copy')
    .option('--linked', 'based on the volume, which must stay as it is: made at once')
    .addOption(new Option('--format <format>', 'format of the copy: converts it').choices(imageFormats))
    .option('--size <size>', 'size that the guest sees of the copy')
    .addOption(encrypt())
    .option('--decrypt', 'the copy is not encrypted, though the disk is')
    .addOption(preallocation())
    .addOption(poolOption())
    .action((name: string, copy: string, { pool, ...flags }: CloneFlags & InPool) =>
      cloneVolume(context, inPool(name, { pool }), copy, flags),
    )
  const resize = sub('resize', 'Change the size of a disk that no running machine has.')
    .argument('<volume>', named)
    .argument('<size>', "size the guest sees: 40GiB, or so much more: '+20GiB'")
    .option('--shrink', 'it may become smaller: what is at its end is lost')
    .addOption(poolOption())
    .action((name: string, size: string, { shrink, pool }: InPool & { shrink?: true }) =>
      resizeVolume(context, inPool(name, { pool }), size, shrink),
    )
  const unlock = sub('unlock', 'Say which secret unlocks an encrypted disk that came from elsewhere.')
    .argument('<volume>', named)
    .argument('<secret>', 'its uuid, or the name of what it is for')
    .addOption(poolOption())
    .action((name: string, secret: string, { pool }: InPool) =>
      change(context, [inPool(name, { pool })], 'can be unlocked', (volumes, place, signal) =>
        volumes.unlock?.(place.pool, place.name, { secret, signal }),
      ),
    )
  const wipe = sub('wipe', 'Write over a disk: what is on it is lost.')
    .argument('<volume>', named)
    .addOption(
      new Option('--algorithm <algorithm>', 'what is written').choices(wipeAlgorithms).default('zero'),
    )
    .addOption(poolOption())
    .action((name: string, { algorithm, pool }: InPool & { algorithm: (typeof wipeAlgorithms)[number] }) =>
      change(context, [inPool(name, { pool })], 'is wiped', (volumes, place, signal) =>
        volumes.wipe?.(place.pool, place.name, { algorithm, signal }),
      ),
    )
  const upload = sub('upload', 'Make a volume of a file. Goes on where it broke off.')
    .argument('<file>', "of this machine; '-' is the standard input")
    .argument('[volume]', `${named}; as the file without it`)
    .addOption(
      new Option('--format <format>', 'its image format; as its name says without').choices([
        ...imageFormats,
        'iso',
        'luks',
      ]),
    )
    .option('--replace', 'it may take the place of a volume of this name')
    .option('--checksum [sha256]', 'verify it there: this digest, or that of the file')
    .action((file: string, name: string | undefined, flags: UploadFlags) =>
      uploadVolume(context, file, name, flags),
    )
  const download = sub('download', 'Save a volume to a file. Goes on where it broke off.')
    .argument('<volume>', named)
    .argument('[file]', "of this machine; '-' is the standard output; named as the volume without")
    .addOption(
      new Option('--format <format>', 'convert it, without what it is based on').choices(downloadFormats),
    )
    .option('--checksum [sha256]', 'verify what came: this digest, or that of the volume')
    .option('-f, --force', 'replace a file there is')
    .action((name: string, file: string | undefined, flags: DownloadFlags) =>
      downloadVolume(context, name, file, flags),
    )
  const show = sub('show', 'Show a disk: where it is, and what it is based on.')
    .argument('<volume>', named)
    .option('--xml', "its description as libvirt's XML")
    .addOption(poolOption())
    .action((name: string, { xml = false, pool }: InPool & { xml?: boolean }) =>
      showVolume(context, inPool(name, { pool }), xml),
    )
  const remove = sub(
    'remove',
    'Remove disks and what is on them. Refused while a machine or another disk needs them.',
  )
    .alias('rm')
    .argument('<volumes...>', named)
    .option('-f, --force', 'also when a machine or another disk needs it')
    .addOption(poolOption())
    .action((names: string[], { force = false, pool }: InPool & { force?: boolean }) =>
      change(
        context,
        names.map((name) => inPool(name, { pool })),
        'is removed',
        (volumes, place, signal) => volumes.remove?.(place.pool, place.name, { force, signal }),
      ),
    )
  addExamples(command, [['visor volume list', 'what there is']])
  addExamples(list, [
    ['visor volume list', 'in all pools'],
    ['visor volume list fast --tree', 'which is based on which'],
  ])
  addExamples(create, [
    ['visor volume create data 20GiB', 'data.qcow2; it grows as it is written'],
    ['visor volume create fast/db.raw 20GiB --preallocation falloc', 'all of it at once'],
    ['visor volume create web.qcow2 --base debian.qcow2', 'only what differs is written'],
    ['visor volume create db.qcow2 20GiB --encrypt', 'LUKS, with a secret that is made for it'],
  ])
  addExamples(clone, [
    ['visor volume clone data.qcow2 copy.qcow2', 'whole'],
    ['visor volume clone debian.qcow2 web.qcow2 --linked', 'in a moment'],
    ['visor volume clone old.vmdk new.qcow2', 'converted'],
  ])
  addExamples(resize, [['visor volume resize data.qcow2 +20GiB', 'the guest then enlarges its file system']])
  addExamples(unlock, [['visor volume unlock db.qcow2 db', 'tried at once']])
  addExamples(wipe, [['visor volume wipe data.qcow2', 'an empty disk of the same size is left']])
  addExamples(upload, [
    ['visor volume upload golden.qcow2', 'golden.qcow2 in the pool default'],
    ['visor volume upload disk.img fast/db.raw --checksum', 'verified there before it is the volume'],
    ['zcat disk.gz | visor volume upload - disk.raw', 'of a program'],
  ])
  addExamples(download, [
    ['visor volume download web.qcow2', 'the file as it lies there'],
    ['visor volume download web.qcow2 whole.raw --format raw', 'converted, with all that it is based on'],
    ['visor volume download web.qcow2 - | gzip > web.gz', 'to a program'],
  ])
  addExamples(show, [['visor volume show data.qcow2', 'where it is']])
  addExamples(remove, [['visor volume remove data.qcow2', 'gone for good']])
}

async function showVolumes(
  { connected, output }: Context,
  pool: string | undefined,
  tree: boolean,
): Promise<void> {
  const volumes = await connected((connection) => listVolumes(connection, pool))
  const { colours, columns } = output
  output.print(volumes, () => {
    if (output.quiet) return volumes.map((volume) => `${volumeName(volume)}\n`).join('')
    if (volumes.length === 0) output.note("No volumes: 'visor volume create NAME 20GiB' makes one.")
    if (volumes.length === 0) return ''
    if (tree) return formatVolumeTree(volumes, colours)
    return formatTable<Volume>(
      [
        { title: 'name', value: (one) => volumeName(one), style: (text) => colours.bold(text), shrinkTo: 10 },
        { title: 'format', value: ({ format }) => format },
        { title: 'size', value: ({ capacityBytes }) => formatBytes(capacityBytes), align: 'right' },
        { title: 'on host', value: ({ allocationBytes }) => formatBytes(allocationBytes), align: 'right' },
        { title: 'made', value: ({ createdAt }) => (createdAt === undefined ? '' : formatAgo(createdAt)) },
        {
          title: 'file',
          value: ({ path, message }) => (message === undefined ? path : `! ${message}`),
          style: (text) => colours.dim(text),
          shrinkTo: 10,
        },
      ],
      volumes,
      { width: columns, styleTitle: colours.dim },
    )
  })
}

interface CreateFlags {
  readonly format?: (typeof imageFormats)[number]
  readonly base?: string
  readonly baseFormat?: string
  readonly encrypt?: string | true
  readonly preallocation?: (typeof preallocations)[number]
}

async function createVolume(
  { connected, output, signal }: Context,
  given: string,
  size: string | undefined,
  { format, base, baseFormat, encrypt: locked, preallocation: allocated }: CreateFlags,
) {
  const place = parseVolumeName(given)
  const isWhole = /\.[a-z0-9]{3,5}$/iu.test(place.name)
  const name = isWhole ? place.name : `${place.name}.${format ?? 'qcow2'}`
  const volume = await connected(async ({ volumes }) => {
    const below = base === undefined ? undefined : await findBase(volumes, base, baseFormat)
    return volumes.create(place.pool, {
      name,
      ...(format && { format }),
      ...(size !== undefined && { capacityBytes: parseSize(size, 'The size') }),
      ...(below && { backing: below }),
      ...encryption(locked),
      ...(allocated && { preallocation: allocated }),
      signal,
    })
  })
  output.print(volume, () => `${volume.path}\n`)
  output.note(
    `${output.noteColours.green('✓')} ${volumeName(volume)} made, ${formatBytes(volume.capacityBytes)}`,
  )
}

/** A path is a file; all else is a volume. */
async function findBase(volumes: Volumes, base: string, format: string | undefined) {
  if (base.startsWith('/')) return { path: base, ...(format !== undefined && { format: format as 'raw' }) }
  const { pool, name } = parseVolumeName(base)
  const found = await volumes.get(pool, name)
  return { path: found.path, format: found.format }
}

interface CloneFlags {
  readonly linked?: true
  readonly format?: (typeof imageFormats)[number]
  readonly size?: string
  readonly encrypt?: string | true
  readonly decrypt?: true
  readonly preallocation?: (typeof preallocations)[number]
}

async function cloneVolume(
  { connected, output, signal }: Context,
  from: string,
  to: string,
  { size, encrypt: locked, ...flags }: CloneFlags,
): Promise<void> {
  const source = parseVolumeName(from)
  const target = to.includes('/') ? parseVolumeName(to) : { pool: source.pool, name: to }
  const volume = await connected(({ volumes }) =>
    volumes.clone(source.pool, source.name, {
      ...flags,
      ...encryption(locked),
      name: target.name,
      ...(target.pool !== source.pool && { toPool: target.pool }),
      ...(size !== undefined && { capacityBytes: parseSize(size, 'The size') }),
      signal,
    }),
  )
  output.print(volume, () => `${volume.path}\n`)
  output.note(
    `${output.noteColours.green('✓')} ${volumeName(volume)} made, ${formatBytes(volume.capacityBytes)}`,
  )
}

async function resizeVolume(
  { connected, output, signal }: Context,
  given: string,
  size: string,
  shrink: true | undefined,
): Promise<void> {
  const { pool, name } = parseVolumeName(given)
  const volume = await connected(async ({ volumes }) => {
    const more = size.startsWith('+') ? (await volumes.get(pool, name)).capacityBytes : 0
    const capacityBytes = more + parseSize(size.replace(/^\+/u, ''), 'The size')
    return volumes.resize(pool, name, { capacityBytes, ...(shrink && { shrink }), signal })
  })
  output.print(volume, () => '')
  output.note(
    `${output.noteColours.green('✓')} ${volumeName(volume)} is ${formatBytes(volume.capacityBytes)} now`,
  )
}

async function showVolume({ connected, output }: Context, given: string, xml: boolean): Promise<void> {
  const { pool, name } = parseVolumeName(given)
  if (xml) {
    const definition = await connected(({ volumes }) => volumes.describe(pool, name))
    output.print(definition, () => formatVolumeDefinition(definition, 'xml'))
    return
  }
  const volume = await connected(({ volumes }) => volumes.get(pool, name))
  const { colours } = output
  const { base, createdAt, message } = volume
  output.print(volume, () =>
    [
      `${colours.bold(safe(volume.name) ?? '')}  ${volume.format}${volume.encrypted ? ', encrypted' : ''}\n`,
      formatSection(colours, '', [
        ['pool', safe(volume.pool === defaultPool ? undefined : volume.pool)],
        ['size', formatBytes(volume.capacityBytes)],
        ['on host', formatBytes(volume.allocationBytes)],
        ['made', createdAt && `${formatAgo(createdAt)} ${colours.dim(`(${createdAt})`)}`],
        ['file', safe(volume.path)],
        ['based on', base && safe(base.volume ?? base.path)],
        ['secret', volume.secret],
        ['attention', message && colours.yellow(safe(message) ?? '')],
      ]),
    ].join(''),
  )
}

export interface UploadFlags {
  readonly format?: VolumeFormat
  readonly replace?: true
  readonly checksum?: string | true
}

async function uploadVolume(
  { connected, output, signal }: Context,
  file: string,
  given: string | undefined,
  { checksum, ...flags }: UploadFlags,
): Promise<void> {
  if (given === undefined && file === standardStream)
    throw new VisorError('invalid-argument', 'The standard input has no name that the volume could have.', {
      remedy: 'Name the volume as well.',
    })
  const place = parseVolumeName(given ?? basename(file))
  const digest = parseChecksum(checksum)
  const volume = await connected((connection) =>
    withProgress(output, `Uploading ${volumeName(place)}`, signal, (call) =>
      sendFile(connection, file, place, { ...flags, ...call, checksum: digest }),
    ),
  )
  output.print(volume, () => `${volume.path}\n`)
  output.note(
    `${output.noteColours.green('✓')} ${volumeName(volume)} uploaded, ${formatBytes(volume.capacityBytes)}`,
  )
}

export interface DownloadFlags {
  readonly format?: DownloadFormat
  readonly checksum?: string | true
  readonly force?: true
}

async function downloadVolume(
  { connected, output, signal }: Context,
  given: string,
  file: string | undefined,
  { checksum, ...flags }: DownloadFlags,
): Promise<void> {
  const place = parseVolumeName(given)
  const target = file ?? place.name
  const digest = parseChecksum(checksum)
  const got = await connected((connection) =>
    withProgress(output, `Downloading ${volumeName(place)}`, signal, (call) =>
      receiveFile(connection, place, target, { ...flags, ...call, checksum: digest }),
    ),
  )
  if (target !== standardStream) output.print({ file: target, ...got }, () => '')
  output.note(`${output.noteColours.green('✓')} ${volumeName(place)} downloaded, ${formatBytes(got.bytes)}`)
}

async function change(
  { connected, output, signal }: Context,
  names: readonly string[],
  done: string,
  work: (
    volumes: Volumes,
    place: { pool: string; name: string },
    signal: AbortSignal,
  ) => Promise<unknown> | undefined,
): Promise<void> {
  await connected(async ({ volumes }) => {
    for (const name of names) {
      await work(volumes, parseVolumeName(name), signal)
      output.note(`${output.noteColours.green('✓')} volume ${safe(name)} ${done}`)
    }
  })
}
