/** The micro guest: a kernel and busybox, both as the distribution ships them, and an init of our own. */
import { createHash } from 'node:crypto'
import { promises as fs } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { type Progress, VisorError } from '../model/index.ts'
import { type CpioEntry, formatCpio } from './cpio.ts'
import { guestHookProgram } from './guest-hook-program.ts'
import { collectModules, formatModuleIndex, type KernelModule } from './kernel-modules.ts'
import { extractKernel } from './kernel-payload.ts'
import {
  dhcpScript,
  endScript,
  guestScript,
  initScript,
  powerButtonScript,
  profile,
  ueventScript,
} from './micro-init.ts'
import { moduleName } from './modinfo.ts'
import { type DownloadedPackage, type PackageIndex, type PackageOptions, withPackages } from './packages.ts'

interface Architecture {
  /** The distribution's name of it. */
  readonly package: string
  /** Packages that stand for a kernel, best first: those for virtual machines are small. Debian, then Ubuntu. */
  readonly kernels: readonly string[]
  /**
   * Measured: the kernel's self-tests of its ciphers take 0.4 s under emulation. Its check of the timer panics where
   * the host gives an emulated processor no time for a moment.
   */
  readonly commandLine: string
  /** Releases to look in where that of the host has none. */
  readonly laterReleases?: readonly string[]
  /** Whether its hypervisors start an unpacked kernel. */
  readonly direct: boolean
}

const architectures: Readonly<Record<string, Architecture>> = {
  x86_64: {
    package: 'amd64',
    kernels: ['linux-image-cloud-amd64', 'linux-image-virtual', 'linux-image-amd64', 'linux-image-generic'],
    commandLine: 'console=ttyS0 quiet cryptomgr.notests no_timer_check',
    direct: true,
  },
  i686: {
    package: 'i386',
    kernels: ['linux-image-686', 'linux-image-686-pae'],
    commandLine: 'console=ttyS0 quiet cryptomgr.notests no_timer_check',
    direct: false,
  },
  aarch64: {
    package: 'arm64',
    kernels: ['linux-image-cloud-arm64', 'linux-image-virtual', 'linux-image-arm64', 'linux-image-generic'],
    commandLine: 'console=ttyAMA0 quiet cryptomgr.notests',
    direct: false,
  },
  riscv64: {
    package: 'riscv64',
    kernels: ['linux-image-riscv64', 'linux-image-generic'],
    commandLine: 'console=ttyS0 quiet cryptomgr.notests',
    direct: false,
    // Debian has it since its release 13.
    laterReleases: ['trixie', 'sid'],
  },
}

/** Drivers of what the hypervisors here offer, the power button, and the file systems a person may bring. */
const modules = [
  'virtio_pci virtio_net virtio_blk virtio_scsi virtio_console virtio_balloon virtio_rng virtio_input',
  'e1000 e1000e 8139cp ne2k_pci ahci ata_piix sd_mod sr_mod button evdev af_packet',
  'crc32c_generic crc32c_intel ext4 vfat nls_ascii nls_cp437 isofs squashfs overlay 9p 9pnet_virtio virtiofs',
  'virtio_mmio virtio_mem virtio_pmem nd_pmem tpm_crb tpm_tis efivarfs gpio_keys gpio_pl061 rtc_pl031',
].flatMap((line) => line.split(' '))

export interface BuildOptions {
  readonly arch: string
  /** An empty directory for what is only needed on the way. */
  readonly scratch: string
  /** Where the files go. */
  readonly output: string
  readonly signal?: AbortSignal
  readonly progress?: (progress: Progress) => void
}

export interface BuiltImage {
  readonly kernel: string
  readonly packedKernel?: string
  readonly initrd: string
  readonly commandLine: string
  readonly hostnameParameter: string
  readonly sources: readonly Omit<DownloadedPackage, 'root'>[]
}

const hostnameParameter = 'visor.hostname'

/** Architectures the micro guest is made for. */
export const microArchitectures = Object.keys(architectures)

/** Digest of all that this file and its neighbours add to the packages. */
export const microRecipe = createHash('sha256')
  .update(
    JSON.stringify([architectures, hostnameParameter, modules, files(Buffer.alloc(0), 'x86_64'), 'recipe 6']),
  )
  .digest('hex')

/** Makes the micro guest in `output`; names in the result are relative to it. */
export async function buildMicro({
  arch,
  scratch,
  output,
  signal,
  progress,
}: BuildOptions): Promise<BuiltImage> {
  const architecture = architectures[arch]
  if (!architecture)
    throw new VisorError(
      'invalid-argument',
      `The image 'micro' is not made for the architecture '${arch}'.`,
      {
        remedy: `Choose one of ${microArchitectures.join(', ')}.`,
      },
    )
  const options = { arch: architecture.package, directory: scratch, signal, progress }
  const { packages, kernel } = await fetchPackages(architecture, arch, options)
  progress?.({ phase: 'putting the image together' })
  const kernelName = await writeKernel(kernel.file, output, architecture.direct)
  const entries = [
    ...files(await readBusybox(packages), arch),
    ...(await moduleFiles(packages, kernel.release, signal)),
  ]
  await fs.writeFile(join(output, 'initrd'), await promisify(gzip)(formatCpio(entries), { level: 6 }))
  return {
    kernel: kernelName,
    ...(kernelName === packedName ? {} : { packedKernel: packedName }),
    initrd: 'initrd',
    commandLine: architecture.commandLine,
    hostnameParameter,
    sources: packages.map(({ root, ...source }) => source),
  }
}

interface Kernel {
  readonly file: string
  /** What `uname -r` says under it. */
  readonly release: string
}

/** From the release of the host, or a later one where that has none for the architecture. */
async function fetchPackages(
  { kernels, laterReleases = [] }: Architecture,
  arch: string,
  options: PackageOptions,
): Promise<{ packages: DownloadedPackage[]; kernel: Kernel }> {
  let failure: unknown
  for (const [index, release] of [undefined, ...laterReleases].entries())
    try {
      const directory = join(options.directory, `release-${index}`)
      await fs.mkdir(directory)
      return await withPackages({ ...options, directory, ...(release ? { release } : {}) }, async (index) => {
        const packages = await index.fetch([...(await findKernel(index, arch, kernels)), 'busybox-static'])
        return { packages, kernel: await findKernelFile(packages) }
      })
    } catch (error) {
      options.signal?.throwIfAborted()
      failure ??= error
    }
  throw failure
}

const packedName = 'vmlinuz'

/** Gives the name of the file: `vmlinux` when the kernel could be unpacked, else `vmlinuz`. */
async function writeKernel(file: string, output: string, direct: boolean): Promise<string> {
  const bzImage = await fs.readFile(file)
  const unpacked = direct ? extractKernel(bzImage) : undefined
  const name = unpacked ? 'vmlinux' : packedName
  await fs.writeFile(join(output, name), unpacked ?? bzImage)
  // Firmware starts nothing but the packed one.
  if (unpacked) await fs.writeFile(join(output, packedName), bzImage)
  return name
}

/** The first of these packages that there is stands for the packages it depends on, which hold the kernel. */
async function findKernel(
  index: PackageIndex,
  arch: string,
  candidates: readonly string[],
): Promise<string[]> {
  for (const candidate of candidates) {
    const depends = await index.dependencies(candidate)
    if (depends) return withParts(index, depends.filter(isKernelPart))
  }
  throw new VisorError('unavailable', `The distribution of this host has no Linux kernel for ${arch}.`, {
    remedy: 'Give a kernel and an initial RAM disk of your own (--kernel, --initrd).',
  })
}

async function withParts(index: PackageIndex, names: readonly string[]): Promise<string[]> {
  const all = new Set(names)
  for (const name of all)
    for (const part of (await index.dependencies(name)) ?? []) if (isKernelPart(part)) all.add(part)
  return [...all]
}

function isKernelPart(name: string): boolean {
  return /^linux-(image|binary|modules)-\d/u.test(name)
}

/** As `/boot/vmlinuz-RELEASE`, or since Debian 14 as `/usr/lib/modules/RELEASE/vmlinuz`. */
async function findKernelFile(packages: readonly DownloadedPackage[]): Promise<Kernel> {
  const list = (directory: string): Promise<string[]> => fs.readdir(directory).catch(() => [])
  for (const { root } of packages) {
    const boot = join(root, 'boot')
    for (const entry of await list(boot)) {
      const release = /^vmlinu[xz]-(.+)$/u.exec(entry)?.[1]
      if (release) return { file: join(boot, entry), release }
    }
    const modules = join(root, 'usr/lib/modules')
    for (const release of await list(modules))
      if ((await list(join(modules, release))).includes('vmlinuz'))
        return { file: join(modules, release, 'vmlinuz'), release }
  }
  throw new VisorError(
    'failed',
    `No kernel is in the packages ${packages.map((one) => one.package).join(', ')}.`,
  )
}

/** /usr/bin and /bin are one since Debian 13. */
async function readBusybox(packages: readonly DownloadedPackage[]): Promise<Buffer> {
  for (const { root } of packages)
    for (const path of ['bin/busybox', 'usr/bin/busybox']) {
      const content = await fs.readFile(join(root, path)).catch(() => undefined)
      if (content) return content
    }
  throw new VisorError('failed', "No program 'busybox' is in the package busybox-static.")
}

async function moduleFiles(
  packages: readonly DownloadedPackage[],
  release: string,
  signal: AbortSignal | undefined,
): Promise<CpioEntry[]> {
  const found: KernelModule[] = []
  for (const { root } of packages)
    for (const path of ['lib/modules', 'usr/lib/modules']) {
      const directory = join(root, path, release)
      if (
        await fs.access(directory).then(
          () => true,
          () => false,
        )
      )
        found.push(...(await collectModules(directory, modules, signal)))
    }
  const directory = `lib/modules/${release}`
  const { dep, alias } = formatModuleIndex(found)
  return [
    { path: 'lib', type: 'directory' },
    { path: 'lib/modules', type: 'directory' },
    { path: directory, type: 'directory' },
    ...found.map(
      (module): CpioEntry => ({
        path: `${directory}/${moduleName(module.name)}.ko`,
        type: 'file',
        content: module.content,
      }),
    ),
    { path: `${directory}/modules.dep`, type: 'file', content: Buffer.from(dep) },
    { path: `${directory}/modules.alias`, type: 'file', content: Buffer.from(alias) },
  ]
}

function files(busybox: Buffer, arch: string): CpioEntry[] {
  const hook = guestHookProgram(arch)
  const directories = [
    'bin',
    'sbin',
    'dev',
    'etc',
    'etc/acpi',
    'etc/acpi/PWRF',
    'proc',
    'root',
    'run',
    'sys',
    'tmp',
    'mnt',
  ]
  const script = (path: string, text: string): CpioEntry => ({
    path,
    type: 'file',
    mode: 0o755,
    content: Buffer.from(text),
  })
  return [
    ...directories.map((path): CpioEntry => ({ path, type: 'directory' })),
    // The kernel opens it for the first program, before that program can mount anything.
    { path: 'dev/console', type: 'character-device', major: 5, minor: 1 },
    { path: 'bin/busybox', type: 'file', mode: 0o755, content: busybox },
    // Where the kernel looks for it when a file system is mounted.
    { path: 'sbin/modprobe', type: 'link', target: '/bin/busybox' },
    { path: 'etc/resolv.conf', type: 'link', target: '/run/resolv.conf' },
    { path: 'etc/passwd', type: 'file', content: Buffer.from('root::0:0:root:/root:/bin/sh\n') },
    { path: 'etc/group', type: 'file', content: Buffer.from('root:x:0:\n') },
    { path: 'etc/profile', type: 'file', content: Buffer.from(profile) },
    script('init', initScript),
    ...(['poweroff', 'reboot', 'halt'] as const).map((name) => script(`sbin/${name}`, endScript(name))),
    script('etc/udhcpc.script', dhcpScript),
    script('sbin/visor-guest', guestScript),
    script('sbin/visor-uevent', ueventScript),
    ...(hook ? [{ path: 'sbin/guest-hook', type: 'file', mode: 0o755, content: hook } as const] : []),
    script('etc/acpi/PWRF/00000080', powerButtonScript),
  ]
}
