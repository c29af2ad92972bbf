import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import type { CompleteConnection } from '../../driver/index.ts'
import {
  type DomainDefinition,
  DomainDefinition as definitionSchema,
  type FirstBootInput,
  formatDefinition,
  type Image,
  parse,
  VisorError,
} from '../../model/index.ts'
import { attachConsole } from '../attach-console.ts'
import { buildDefinition } from '../build-definition.ts'
import { chooseMachine, type MachineChoice } from '../choose-machine.ts'
import type { Context } from '../context.ts'
import { parseDisk } from '../disk-spec.ts'
import { addFirstBootFlags, type FirstBootFlags, readFirstBoot } from '../first-boot/flags.ts'
import { seedName, withSeed } from '../first-boot/with-seed.ts'
import { addExamples } from '../help.ts'
import { withNewDisks, withRootDisk } from '../new-disks.ts'
import { withProgress } from '../progress.ts'
import { noteShares } from '../shares/note-shares.ts'
import { parseShare, shareDevice, shareUsage, withBestShares } from '../shares/share-spec.ts'
import { parseCount, parseSize } from '../units.ts'

interface CreateFlags extends FirstBootFlags {
  readonly cpus: string
  readonly memory?: string
  readonly disk?: readonly string[]
  readonly cdrom?: readonly string[]
  readonly image?: string
  readonly kernel?: string
  readonly initrd?: string
  readonly append?: string
  readonly network?: readonly string[]
  readonly publish?: readonly string[]
  readonly share?: readonly string[]
  readonly driver?: string
  readonly accel: 'auto' | 'kvm' | 'tcg'
  readonly arch?: string
  readonly machine?: string
  readonly cpu?: string
  readonly firmware?: 'bios' | 'uefi'
  readonly secureBoot?: true
  readonly tpm?: true
  readonly iothreads?: string
  readonly title?: string
  readonly headless?: true
  readonly autostart?: true
  readonly start: boolean
  readonly console?: true
  readonly dryRun?: true
  readonly xml?: true
}

const collect = (value: string, before: readonly string[] = []) => [...before, value]

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Make a machine from flags and start it. It has a serial console, randomness and a balloon; with QEMU a screen too.',
    )
    .argument('<name>', 'its name, one of a kind')
    .optionsGroup('What it has:')
    .option('--cpus <n>', 'processors', '1')
    .option('--memory <size>', 'memory: 2GiB, 512MiB; a bare number counts MiB')
    .option(
      '--disk <disk>',
      'a new disk of a size (20GiB[,pool=fast]), a file, or a volume,pool=fast [,format=qcow2][,readonly][,bus=nvme][,transient]; repeatable',
      collect,
    )
    .option('--cdrom <file>', 'an ISO image, read-only; repeatable', collect, [])
    .option(
      '--network <network>',
      "'user' (the default where there are cards), 'none', 'network=NAME', 'bridge=NAME'; repeatable",
      collect,
    )
    .option('--tpm', 'a trusted platform module, version 2.0')
    .option('--iothreads <n>', 'threads that serve disks')
    .option(
      '--publish <ports>',
      'a port of this host that leads to it, [ADDRESS:]PORT:GUESTPORT[/udp]; repeatable',
      collect,
    )
    .option(
      '--share <share>',
      `a folder of the host, ${shareUsage}: by virtiofs where it can be had, else by 9p; repeatable`,
      collect,
    )
    .option('--headless', 'no screen')
    .option('--title <text>', 'one line about it')
    .optionsGroup('What it boots:')
    .option('--image <image>', "an image of visor's, such as 'micro'; built when it is not there")
    .option('--kernel <file>', 'a kernel, on the host of the machine')
    .option('--initrd <file>', 'its initial RAM disk')
    .option('--append <arguments>', 'its command line')
    .addOption(
      new Option('--firmware <kind>', 'what starts it; UEFI on ARM without').choices(['bios', 'uefi']),
    )
    .option('--secure-boot', 'UEFI that starts only what is signed')
  addFirstBootFlags(command)
    .optionsGroup('Who runs it:')
    .option('--driver <name>', 'qemu, v86, test; the first that can without')
    .addOption(new Option('--accel <how>', 'hardware help').choices(['auto', 'kvm', 'tcg']).default('auto'))
    .option('--arch <arch>', 'architecture: x86_64, i686, aarch64, riscv64')
    .option('--machine <type>', 'machine type: q35, pc, microvm')
    .option('--cpu <model>', 'processor model, or host-model, host-passthrough, maximum')
    .optionsGroup('And then:')
    .option('--no-start', 'only define it')
    .option('--console', 'go on to its serial console')
    .option('--autostart', 'start it with the daemon')
    .option('--dry-run', 'only print the definition, as YAML or with --xml as XML')
    .option('--xml', 'with --dry-run: as XML')
    .action((name: string, flags: CreateFlags) => create(context, name, flags))
  addExamples(command, [
    ['visor create web --image micro --console', 'a small Linux, and its shell'],
    ['visor create db --cpus 2 --memory 2GiB --disk 20GiB --cdrom debian.iso', 'install a system'],
    ['visor create web --image debian-12 --disk 20GiB --ssh-key ~/.ssh/id_ed25519.pub', 'and log in'],
    ['visor create web --image micro --publish 8080:80', 'port 8080 of this host is its port 80'],
    ['visor create web --image micro --share /srv/site:site:ro', 'it sees that folder'],
    ['visor create old --disk /srv/old.qcow2 --network none --no-start', 'from a disk there is'],
    ['visor create web --memory 1GiB --dry-run > web.yaml', 'a file to change and apply'],
  ])
}

async function create(context: Context, name: string, flags: CreateFlags): Promise<void> {
  const { output, signal } = context
  const { cyan, dim, green } = output.noteColours
  const created = await context.connected(async (connection) => {
    const image =
      flags.image === undefined ? undefined : await findImage(context, connection, flags.image, flags)
    const choice = chooseMachine(await connection.host.capabilities(), {
      driver: flags.driver,
      accel: flags.accel,
      arch: flags.arch ?? image?.arch,
    })
    for (const note of choice.notes) output.note(dim(`note: ${note}`))
    const shares = (flags.share ?? []).map((text) => parseShare(text))
    const uuid = randomUUID()
    const machine = wanted(name, flags, image, choice)
    const firstBoot = await readFirstBoot(flags, {
      ...{ uuid, name, image: image?.name },
      macs:
        buildDefinition({ ...machine, uuid, disks: [] }, choice).devices?.interfaces?.flatMap(
          ({ mac }) => mac ?? [],
        ) ?? [],
    })
    if (flags.dryRun) return print(context, assemble(name, flags, image, choice, firstBoot), flags)
    await withNewDisks(
      connection,
      name,
      withRootDisk(
        (flags.disk ?? []).map((disk) => parseDisk(disk)),
        image,
      ),
      signal,
      (disks) =>
        withSeed(connection, name, firstBoot, signal, async (place) => {
          const all = { ...machine, ...place, disks: [...disks, ...cdroms(flags)] }
          const shared = await withBestShares(shares, (filesystems) =>
            connection.domains.define(
              buildDefinition({ ...all, filesystems, ...(firstBoot && { uuid }) }, choice),
              { ifNoneMatch: '*', signal },
            ),
          )
          noteShares(context, shares, shared)
        }),
    )
    output.note(`${green('✓')} ${name} is defined, run by ${choice.driver} (type ${choice.type})`)
    await finish(context, connection, name, flags)
    return true
  })
  if (!created || !flags.start) return
  if (flags.console) await attachConsole(context, name)
  else output.note(`  ${dim('its console:')} ${cyan(`visor console ${name}`)}`)
}

async function finish(
  { output, signal }: Context,
  { domains }: CompleteConnection,
  name: string,
  flags: CreateFlags,
) {
  if (flags.autostart) await domains.setAutostart(name, { enabled: true, signal })
  if (flags.start) {
    await withProgress(output, `Starting ${name}`, signal, (call) => domains.start(name, call))
    output.note(`${output.noteColours.green('✓')} ${name} started`)
  }
  if (output.json) output.print(await domains.get(name), () => '')
}

/** The definition with its defaults, new disks by a name that says so. */
function assemble(
  name: string,
  flags: CreateFlags,
  image: Image | undefined,
  choice: MachineChoice,
  firstBoot: FirstBootInput | undefined,
): DomainDefinition {
  const specs = withRootDisk(
    (flags.disk ?? []).map((text) => parseDisk(text)),
    image,
  )
  const disks = specs.map((disk, index) => {
    const { sizeBytes, pool: _, image: from, ...rest } = disk
    return sizeBytes === undefined && from === undefined
      ? disk
      : { ...rest, file: `/path/to/${name}-${index}.${disk.format}` }
  })
  const filesystems = (flags.share ?? []).map((text) => shareDevice(parseShare(text), 'virtiofs'))
  const seed = firstBoot && `/path/to/${seedName(name, firstBoot)}`
  const place = firstBoot?.ignition === undefined ? { seed } : { ignition: seed }
  const definition = buildDefinition(
    { ...wanted(name, flags, image, choice), disks: [...disks, ...cdroms(flags)], filesystems, ...place },
    choice,
  )
  return parse(definitionSchema, definition)
}

function print({ output }: Context, definition: DomainDefinition, { xml, disk }: CreateFlags): false {
  if (disk?.some((text) => parseDisk(text).sizeBytes !== undefined))
    output.note('note: disks by size are made by visor create itself; /path/to/ stands for where.')
  output.print(definition, () => formatDefinition(definition, xml ? 'xml' : 'yaml'))
  return false
}

/** Linux wants more than a hundred; the embedded machine puts the initial RAM disk at 64 MiB. */
const defaultMemory: Readonly<Record<string, string>> = { v86: '128MiB', test: '512MiB' }

function wanted(name: string, flags: CreateFlags, image: Image | undefined, { driver }: MachineChoice) {
  const { kernel, initrd, append, machine, cpu, title, headless = false } = flags
  if (kernel === undefined && image === undefined && (initrd !== undefined || append !== undefined))
    throw new VisorError('invalid-argument', '--initrd and --append go with a kernel.', {
      remedy: 'Add --kernel FILE or --image NAME.',
    })
  const memory =
    flags.memory ?? (image?.kernel && driver === 'qemu' ? '256MiB' : (defaultMemory[driver] ?? '1GiB'))
  return {
    name,
    title,
    cpus: parseCount(flags.cpus, 'The number of processors', 1, 4096),
    memoryKiB: Math.ceil(parseSize(memory, 'The memory', 'MiB') / 1024),
    machine,
    cpuModel: cpu,
    firmware: flags.firmware,
    secureBoot: flags.secureBoot,
    tpm: flags.tpm,
    iothreads:
      flags.iothreads === undefined
        ? undefined
        : parseCount(flags.iothreads, 'The number of I/O threads', 1, 256),
    image,
    kernel: kernel === undefined ? undefined : resolve(kernel),
    initrd: initrd === undefined ? undefined : resolve(initrd),
    commandLine: append,
    // The embedded machine has no network card.
    published: flags.publish,
    // The embedded machine is also for who may not make links of the host.
    networks: flags.network ?? (driver === 'v86' ? ['none'] : ['user']),
    headless,
  }
}

function cdroms({ cdrom = [] }: CreateFlags) {
  return cdrom.map((file) => ({
    file: resolve(file),
    format: 'raw' as const,
    device: 'cdrom' as const,
    readonly: true,
  }))
}

/** The image; built, or pulled, first when it is not there yet. */
async function findImage(
  { output, signal }: Context,
  { images }: CompleteConnection,
  name: string,
  { arch, driver }: CreateFlags,
): Promise<Image> {
  // The embedded machine is a 32-bit one.
  const architecture = arch ?? (driver === 'v86' ? 'i686' : undefined)
  const key = architecture === undefined || name.includes(':') ? name : `${name}:${architecture}`
  try {
    return await images.get(key)
  } catch (error) {
    if (!(error instanceof VisorError) || error.code !== 'not-found') throw error
    const isOurs = /^micro(?::|$)/u.test(key)
    output.note(`The image '${key}' is not there yet; it is ${isOurs ? 'built' : 'fetched'} now.`)
    if (isOurs)
      return await withProgress(output, `Building ${key}`, signal, (call) => images.build(key, call))
    return await withProgress(output, `Fetching ${key}`, signal, (call) =>
      images.pull({ ...call, source: key }),
    )
  }
}
