/** A disk that boots by itself, of the packages of a distribution: the same packages give the same bytes. */
import { createHash } from 'node:crypto'
import { promises as fs } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../host/index.ts'
import { type Image, type Progress, VisorError } from '../../model/index.ts'
import { placeBootSectors } from './boot-sectors.ts'
import { formatFatVolume } from './fat-volume.ts'
import { fetchPackageSet, type PackageSet } from './package-set.ts'
import {
  formatPartitionTable,
  lastUsableSector,
  type Partition,
  partitionTypes,
  sectorBytes,
} from './partition-table.ts'
import type { Release } from './releases.ts'
import { makeRootFileSystem } from './root-file-system.ts'
import { makeRootFolder, writeTree } from './root-folder.ts'
import {
  buildFolder,
  earlyFiles,
  earlyScript,
  finishScript,
  lateScript,
  systemFiles,
} from './system-files.ts'

/** What a disk is made with; all of it decides what it is. */
export interface DiskRecipe {
  readonly release: Release
  readonly arch: string
  /** Packages besides those that every disk has. */
  readonly packages: readonly string[]
  readonly format: 'qcow2' | 'raw'
  /** Of the disk; large enough for the packages without it. */
  readonly sizeBytes?: number | undefined
  readonly archive?: string | undefined
  readonly security?: string | undefined
  /** Seconds since 1970: what files are said to be changed at; when the release was published without it. */
  readonly epoch?: number | undefined
}

export interface BuildDiskOptions {
  /** An empty folder for what is only needed on the way. */
  readonly scratch: string
  /** Where the disk goes. */
  readonly output: string
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((progress: Progress) => void) | undefined
}

export interface BuiltDisk {
  /** Name of its file in the output folder. */
  readonly disk: string
  readonly format: 'qcow2' | 'raw'
  readonly title: string
  readonly sources: readonly Image['sources'][number][]
}

/** Architectures that disks are built for, and what distributions call them. */
export const diskArchitectures: Readonly<Record<string, string>> = { x86_64: 'amd64' }

/** Every disk: what logs in, takes addresses and a name, grows the file system, and answers the host. */
const everywhere = [
  'systemd-sysv udev dbus libpam-systemd kmod initramfs-tools zstd apt ca-certificates netbase iproute2 iputils-ping',
  'procps less nano sudo openssh-server cloud-init cloud-guest-utils fdisk e2fsprogs qemu-guest-agent tzdata',
].flatMap((line) => line.split(' '))

const loaderPackages = ['grub-common', 'grub-pc-bin', 'grub-efi-amd64-bin', 'libdevmapper1.02.1']

const mebibyte = 2 ** 20
const smallestDefault = 2048 * mebibyte
const bootSector = 2048
const efiSector = 4096
const efiSectors = (32 * mebibyte) / sectorBytes
const rootSector = efiSector + efiSectors

/** Digest of how disks are made; another one makes another disk of the same packages. */
export function digestOf(recipe: DiskRecipe): string {
  const identity = { rootUuid: '', efiUuid: '', sourceLines: '' }
  const files = [earlyFiles(), systemFiles(identity), earlyScript, lateScript, finishScript]
  return digest([recipe, files, everywhere, loaderPackages, 'disk 1'])
}

/** Fails with `unavailable` (what is missing on the host), `not-found` (a package), `failed`; leaves what it wrote. */
export async function buildDisk(recipe: DiskRecipe, options: BuildDiskOptions): Promise<BuiltDisk> {
  const { scratch, output, progress, signal } = options
  const { release } = recipe
  await requireQemuImg()
  const directory = join(scratch, 'packages')
  await fs.mkdir(directory)
  const set = await fetchPackageSet({
    release,
    directory,
    architecture: diskArchitectures[recipe.arch] ?? recipe.arch,
    archive: recipe.archive ?? release.archive,
    security: recipe.security ?? release.security,
    names: [...everywhere, release.kernel, ...release.packages, ...recipe.packages],
    tools: loaderPackages,
    signal,
    progress,
  })
  const epoch = recipe.epoch ?? set.published
  const uuids = makeUuids(digest([digestOf(recipe), epoch, set.packages, set.toolPackages]))
  const folder = join(scratch, 'root')
  await installSystem(recipe, set, uuids, epoch, folder, options)

  progress?.({ phase: 'making the disk' })
  const raw = recipe.format === 'raw' ? join(output, 'disk.raw') : join(scratch, 'disk.raw')
  const sizeBytes = recipe.sizeBytes ?? (await chooseSize(folder))
  await writeDisk(raw, { sizeBytes, folder, scratch, uuids, epoch, signal })
  if (recipe.format === 'qcow2') await convert(raw, join(output, 'disk.qcow2'), signal)
  return {
    disk: `disk.${recipe.format}`,
    format: recipe.format,
    title: release.title,
    sources: set.packages,
  }
}

interface Uuids {
  readonly disk: string
  readonly boot: string
  readonly efi: string
  readonly root: string
  readonly rootFileSystem: string
  /** 32 bits. */
  readonly efiSerial: number
}

async function installSystem(
  { arch }: DiskRecipe,
  set: PackageSet,
  uuids: Uuids,
  epoch: number,
  folder: string,
  { scratch, signal, progress }: BuildDiskOptions,
): Promise<void> {
  const serial = uuids.efiSerial.toString(16).toUpperCase().padStart(8, '0')
  await writeTree(join(scratch, 'early'), earlyFiles())
  await writeTree(join(scratch, 'system'), {
    ...systemFiles({
      rootUuid: uuids.rootFileSystem,
      efiUuid: `${serial.slice(0, 4)}-${serial.slice(4)}`,
      sourceLines: set.sourceLines,
    }),
    [`${buildFolder}/finish.sh`]: finishScript,
  })
  await fs.rename(set.tools, join(scratch, 'tools'))
  await fs.mkdir(join(scratch, 'loader'))
  await fs.mkdir(join(scratch, 'temporary'))
  const [early, late] = [join(scratch, 'early.sh'), join(scratch, 'late.sh')]
  await fs.writeFile(early, earlyScript, { mode: 0o755 })
  await fs.writeFile(late, lateScript, { mode: 0o755 })
  await makeRootFolder({
    ...{ folder, early, late, epoch, signal, progress },
    archive: set.archive,
    architecture: diskArchitectures[arch] ?? arch,
    names: set.packages.map(({ package: name }) => name),
    scratch: join(scratch, 'temporary'),
  })
}

async function writeDisk(
  path: string,
  {
    sizeBytes,
    folder,
    scratch,
    uuids,
    epoch,
    signal,
  }: {
    readonly sizeBytes: number
    readonly folder: string
    readonly scratch: string
    readonly uuids: Uuids
    readonly epoch: number
    readonly signal: AbortSignal | undefined
  },
): Promise<void> {
  const sectors = Math.floor(sizeBytes / mebibyte) * (mebibyte / sectorBytes)
  const loader = (name: string) => fs.readFile(join(scratch, 'loader', name))
  const { bootCode, core } = placeBootSectors(await loader('boot.img'), await loader('core.img'), bootSector)
  if (core.length > (efiSector - bootSector) * sectorBytes)
    throw new VisorError('failed', 'The boot loader is larger than its partition.')
  const lastRoot = lastUsableSector(sectors) - ((lastUsableSector(sectors) + 1) % 2048)
  const partitions: Partition[] = [
    part(1, 'linuxRootX64', uuids.root, 'root', rootSector, lastRoot - rootSector + 1),
    part(14, 'biosBoot', uuids.boot, 'boot', bootSector, efiSector - bootSector),
    part(15, 'efiSystem', uuids.efi, 'efi', efiSector, efiSectors),
  ]
  const table = formatPartitionTable({ sectors, uuid: uuids.disk, bootCode }, partitions)
  const efi = formatFatVolume({
    sectors: efiSectors,
    serial: uuids.efiSerial,
    label: 'EFI',
    files: { 'EFI/BOOT/BOOTX64.EFI': await loader('loader.efi') },
  })
  const file = await fs.open(path, 'wx', 0o600)
  try {
    await file.truncate(sectors * sectorBytes)
    await file.write(table.primary, 0, table.primary.length, 0)
    await file.write(core, 0, core.length, bootSector * sectorBytes)
    await file.write(efi, 0, efi.length, efiSector * sectorBytes)
    await file.write(table.backup, 0, table.backup.length, sectors * sectorBytes - table.backup.length)
  } finally {
    await file.close()
  }
  await makeRootFileSystem({
    ...{ folder, file: path, scratch, epoch, signal },
    offset: rootSector * sectorBytes,
    sizeBytes: (lastRoot - rootSector + 1) * sectorBytes,
    uuid: uuids.rootFileSystem,
  })
}

function part(
  number: number,
  type: keyof typeof partitionTypes,
  uuid: string,
  name: string,
  firstSector: number,
  sectors: number,
): Partition {
  return { number, type: partitionTypes[type], uuid, name, firstSector, sectors }
}

/** Half as much again as there is, and room to begin with. */
async function chooseSize(folder: string): Promise<number> {
  const { stdout } = await run('du', ['--summarize', '--one-file-system', '--block-size=1M', folder], {
    timeoutMs: 600_000,
  })
  const wanted = (Number.parseInt(stdout, 10) * 1.5 + 512) * mebibyte
  return Math.max(smallestDefault, Math.ceil(wanted / (256 * mebibyte)) * 256 * mebibyte)
}

async function convert(raw: string, path: string, signal: AbortSignal | undefined): Promise<void> {
  const args = ['convert', '-f', 'raw', '-O', 'qcow2', '-o', 'compat=1.1', raw, path]
  const { code, stderr } = await run('qemu-img', args, { ...(signal && { signal }), timeoutMs: 3_600_000 })
  if (code === 0) return
  const isFull = /No space left on device/iu.test(stderr)
  throw new VisorError(
    'failed',
    isFull
      ? 'No space is left for the disk that is built.'
      : `qemu-img failed: ${stderr.trim().split('\n').at(-1)}`,
    isFull ? { remedy: 'Make room there.' } : {},
  )
}

async function requireQemuImg(): Promise<void> {
  await run('qemu-img', ['--version'], { timeoutMs: 30_000 }).catch((cause: unknown) => {
    throw new VisorError('unavailable', "Disks are built with 'qemu-img', which is not installed.", {
      remedy: "Install the package 'qemu-utils'.",
      cause,
    })
  })
}

/** Of what the disk is made of: the same for the same disk, another for another one. RFC 9562, version 8. */
function makeUuids(seed: string): Uuids {
  const bytesOf = (name: string) => createHash('sha256').update(`${seed} ${name}`).digest()
  const uuid = (name: string) => {
    const bytes = bytesOf(name).subarray(0, 16)
    bytes[6] = 0x80 | ((bytes[6] ?? 0) & 0x0f)
    bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
    return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/u, '$1-$2-$3-$4-$5')
  }
  return {
    ...{ disk: uuid('disk'), boot: uuid('boot'), efi: uuid('efi'), root: uuid('root') },
    rootFileSystem: uuid('root file system'),
    efiSerial: bytesOf('efi file system').readUInt32LE(0),
  }
}

function digest(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}
