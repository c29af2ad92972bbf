/**
 * Which packages a disk is made of, decided and downloaded before anything is unpacked. apt decides, by the signed
 * indexes of the release, in a folder of its own: what the host has installed plays no part. What is downloaded becomes
 * a small archive of its own, so that what comes after needs no network.
 */
import { promises as fs } from 'node:fs'
import { basename, join } from 'node:path'
import { hashFile, type RunOptions, run } from '../../host/index.ts'
import { type Image, type Progress, VisorError } from '../../model/index.ts'
import type { Release } from './releases.ts'

export interface PackageSetOptions {
  readonly release: Release
  /** As the distribution names it: amd64. */
  readonly architecture: string
  /** Address of the archive, and that of security updates. */
  readonly archive: string
  readonly security: string
  /** Wanted besides what makes a system at all. */
  readonly names: readonly string[]
  /** Programs of the build that do not become part of the disk; unpacked, each with the others. */
  readonly tools: readonly string[]
  /** A folder of the caller's, empty. */
  readonly directory: string
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((progress: Progress) => void) | undefined
}

export interface PackageSet {
  /** A folder with the packages and their index, as apt reads it. */
  readonly archive: string
  /** Lines of sources.list(5) with which the guest finds them again. */
  readonly sourceLines: string
  readonly packages: readonly Image['sources'][number][]
  /** Folder into which the tools are unpacked, and which they are. */
  readonly tools: string
  readonly toolPackages: readonly Image['sources'][number][]
  /** When the release was published, in seconds since 1970. */
  readonly published: number
}

/** Fails with `unavailable` without apt, its keys or a server, `not-found` for a package that is not there. */
export async function fetchPackageSet(options: PackageSetOptions): Promise<PackageSet> {
  const { directory, names, progress, signal } = options
  const keyring = await findKeyring(options.release)
  const archive = join(directory, 'archive')
  const tools = join(directory, 'tools')
  const downloads = join(directory, 'downloads')
  for (const path of [archive, tools, downloads, join(directory, 'lists/partial'), join(directory, 'cache')])
    await fs.mkdir(path, { recursive: true })
  await fs.mkdir(join(archive, 'partial'))
  await fs.writeFile(join(directory, 'status'), '')
  const lines = sourceLines(options)
  await fs.writeFile(
    join(directory, 'sources.list'),
    lines.map((line) => line('signed-by', keyring)).join(''),
  )
  await fs.writeFile(join(directory, 'apt.conf'), configuration(directory, archive, options.architecture))
  const apt = (program: string, args: readonly string[], more: RunOptions = {}) =>
    runApt(program, ['-c', join(directory, 'apt.conf'), ...args], { ...(signal && { signal }), ...more })

  progress?.({ phase: `reading the package index of ${options.release.title}` })
  const update = await apt('apt-get', ['update', '-q', '--error-on=any'], { timeoutMs: 600_000 })
  if (update.code !== 0) throw unreachable(update.stderr)
  const wanted = ['?essential', '?priority(required)', ...names]
  const listing = await apt('apt-get', ['install', '-qq', '--yes', '--print-uris', ...wanted])
  if (listing.code !== 0) throw notThere(listing.stderr)
  const total = sum([...listing.stdout.matchAll(/^'[^']*' \S+ (\d+) /gmu)].map(([, size]) => Number(size)))
  await requireRoom(directory, total)
  const count = listing.stdout.split('\n').length - 1
  const stop = watchSize([archive, join(archive, 'partial')], (done) =>
    progress?.({ phase: `downloading ${count} packages`, done: Math.min(done, total), total, unit: 'bytes' }),
  )
  try {
    const got = await apt('apt-get', ['install', '-qq', '--yes', '--download-only', ...wanted], {
      timeoutMs: 3_600_000,
    })
    if (got.code !== 0) throw failedDownload(got.stderr)
    const more = await apt('apt-get', ['download', '-q', ...options.tools], {
      cwd: downloads,
      timeoutMs: 900_000,
    })
    if (more.code !== 0) throw failedDownload(more.stderr)
  } finally {
    stop()
  }
  await fs.rm(join(archive, 'partial'), { recursive: true })
  await fs.rm(join(archive, 'lock'), { force: true })
  const packages = await describe(archive, apt)
  await fs.writeFile(join(archive, 'Packages'), packages.map(({ stanza }) => stanza).join('\n\n'))
  const toolPackages = await describe(downloads, apt)
  for (const { file } of toolPackages) await unpack(file, tools, signal)
  return {
    archive,
    tools,
    published: await readPublished(join(directory, 'lists'), options.release.codename),
    sourceLines: lines.map((line) => line('signed-by', options.release.keyrings[0] ?? keyring)).join(''),
    packages: packages.map(({ source }) => source),
    toolPackages: toolPackages.map(({ source }) => source),
  }
}

async function findKeyring({ keyrings, keyringPackage, title }: Release): Promise<string> {
  for (const path of keyrings)
    if (
      await fs.access(path).then(
        () => true,
        () => false,
      )
    )
      return path
  throw new VisorError(
    'unavailable',
    `The keys that packages of ${title} are signed with are not on this host.`,
    {
      remedy: `Install the package '${keyringPackage}'.`,
    },
  )
}

/** One-line style: the guest's own programs read and change it, and apt of every release. */
function sourceLines({ release, archive, security }: PackageSetOptions) {
  const { codename, components } = release
  const suites = [
    [archive, codename],
    [archive, `${codename}-updates`],
    [security, `${codename}-security`],
  ]
  return suites.map(
    ([uri, suite]) =>
      (key: string, value: string) =>
        `deb [${key}=${value}] ${uri} ${suite} ${components.join(' ')}\n`,
  )
}

function configuration(directory: string, archive: string, architecture: string): string {
  const quoted = (value: string) => `"${value.replaceAll('"', '%22')}"`
  return `Dir::State ${quoted(directory)};
Dir::State::status ${quoted(join(directory, 'status'))};
Dir::State::lists ${quoted(join(directory, 'lists'))};
Dir::Cache ${quoted(join(directory, 'cache'))};
Dir::Cache::archives ${quoted(archive)};
Dir::Etc::SourceList ${quoted(join(directory, 'sources.list'))};
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
APT::Architecture ${quoted(architecture)};
#clear APT::Architectures;
APT::Architectures { ${quoted(architecture)}; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
`
}

interface Described {
  readonly file: string
  readonly stanza: string
  readonly source: Image['sources'][number]
}

/** What the signed index says of the package files in a folder, each held against its digest there. */
async function describe(
  folder: string,
  apt: (program: string, args: readonly string[]) => ReturnType<typeof run>,
): Promise<Described[]> {
  const files = (await fs.readdir(folder)).filter((name) => name.endsWith('.deb')).sort()
  const keys = files.map((file) => {
    const [name = '', version = '', arch = ''] = file.replace(/\.deb$/u, '').split('_')
    return { file, name, version: decodeURIComponent(version), arch }
  })
  const { stdout } = await apt('apt-cache', [
    'show',
    ...keys.map(({ name, version }) => `${name}=${version}`),
  ])
  const stanzas = stdout.split(/\n\n+/u).filter((text) => text !== '')
  const described: Described[] = []
  for (const { file, name, version, arch } of keys) {
    const sha256 = await hashFile(join(folder, file))
    const stanza = stanzas.find(
      (text) =>
        field(text, 'Package') === name &&
        field(text, 'Version') === version &&
        field(text, 'SHA256') === sha256,
    )
    if (!stanza) throw new VisorError('failed', `The package file '${file}' is not what the index says.`)
    described.push({
      file: join(folder, file),
      // Its name is written with %3a for a colon: so it is %253a in the address.
      stanza: stanza.trim().replace(/^Filename: .*$/mu, `Filename: ./${file}`),
      source: { package: name, version, arch, sha256 },
    })
  }
  return described
}

function field(stanza: string, name: string): string | undefined {
  return new RegExp(`^${name}: (.*)$`, 'mu').exec(stanza)?.[1]
}

async function unpack(file: string, folder: string, signal: AbortSignal | undefined): Promise<void> {
  const { code, stderr } = await run('dpkg-deb', ['--extract', file, folder], {
    ...(signal && { signal }),
    timeoutMs: 300_000,
  })
  if (code !== 0)
    throw new VisorError('failed', `'${basename(file)}' could not be unpacked: ${lastLine(stderr)}`)
}

/** `Date` of the release's own index: it changes with a point release, not with each update. */
async function readPublished(lists: string, codename: string): Promise<number> {
  const name = (await fs.readdir(lists)).find((one) => one.endsWith(`_dists_${codename}_InRelease`))
  const text = name ? await fs.readFile(join(lists, name), 'utf8') : ''
  const seconds = Date.parse(field(text, 'Date') ?? '') / 1000
  if (!Number.isSafeInteger(seconds))
    throw new VisorError(
      'failed',
      `The index of the release '${codename}' does not say when it was published.`,
    )
  return seconds
}

async function runApt(program: string, args: readonly string[], options: RunOptions) {
  try {
    return await run(program, args, { ...options, env: { ...process.env, LC_ALL: 'C' } })
  } catch (error) {
    if (!(error instanceof VisorError) || error.code !== 'unavailable') throw error
    throw new VisorError(
      'unavailable',
      `Disks are built from packages of Debian and Ubuntu with '${program}', which this host does not have.`,
      { remedy: "Fetch one that is built: 'visor image available' lists them.", cause: error },
    )
  }
}

/** Packages, the same unpacked, and the disk they become. */
async function requireRoom(directory: string, packedBytes: number): Promise<void> {
  const { bavail, bsize } = await fs.statfs(directory)
  const needed = packedBytes * 13
  const free = bavail * bsize
  if (free >= needed) return
  const toMiB = (bytes: number) => Math.ceil(bytes / 2 ** 20)
  throw new VisorError(
    'failed',
    `No space is left for the build: it needs about ${toMiB(needed)} MiB in '${directory}', and ${toMiB(free)} MiB are free.`,
    { remedy: 'Make room there.' },
  )
}

function unreachable(stderr: string): VisorError {
  return new VisorError('unavailable', `The package index could not be read: ${firstError(stderr)}`, {
    remedy: 'See that the archive can be reached, or name another one (--mirror, --security-mirror).',
  })
}

function notThere(stderr: string): VisorError {
  const name = /Unable to locate package (\S+)|Package '?([^\s']+)'? has no installation candidate/u.exec(
    stderr,
  )
  const which = name?.[1] ?? name?.[2]
  if (which === undefined)
    return new VisorError('failed', `These packages do not go together: ${firstError(stderr)}`)
  return new VisorError('not-found', `The release has no package '${which}'.`, {
    object: { kind: 'package', name: which },
  })
}

function failedDownload(stderr: string): VisorError {
  if (/No space left on device|don't have enough free space/u.test(stderr))
    return new VisorError('failed', 'No space is left for the packages of the build.', {
      remedy: 'Make room there.',
    })
  return new VisorError('failed', `The packages could not be downloaded: ${firstError(stderr)}`, {
    remedy: 'Try again, or name another archive (--mirror).',
  })
}

/** Tells the size of what is in folders again and again, until stopped. */
function watchSize(folders: readonly string[], tell: (bytes: number) => void): () => void {
  const look = async () => {
    const sizes = folders.map(async (folder) => {
      const names = await fs.readdir(folder).catch(() => [])
      const stats = names.map((name) => fs.stat(join(folder, name)).catch(() => undefined))
      return sum((await Promise.all(stats)).map((stat) => (stat?.isFile() ? stat.size : 0)))
    })
    tell(sum(await Promise.all(sizes)))
  }
  const timer = setInterval(() => void look(), 500)
  return () => clearInterval(timer)
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

function firstError(text: string): string {
  const lines = text.trim().split('\n')
  return lines.find((line) => line.startsWith('E: '))?.slice(3) ?? lines.at(-1) ?? 'no reason was given.'
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) || 'no reason was given.'
}
