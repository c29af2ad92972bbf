/**
 * Packages of the distribution, downloaded and unpacked, never installed. Everything apt writes goes to a
 * directory of ours, so it needs no root and the host's own package state never changes. apt checks each
 * package against the signed index, as it does for an installation.
 */
import { promises as fs } from 'node:fs'
import { join } from 'node:path'
import { hashFile, type RunOptions, run, runChecked } from '../host/index.ts'
import { type Progress, toVisorError, VisorError } from '../model/index.ts'
import { distributionSources } from './apt-sources.ts'

export interface PackageOptions {
  /** The distribution's name of the architecture: amd64, i386. */
  readonly arch: string
  /** Look in this release instead of that of the host. */
  readonly release?: string
  /** An empty directory of the caller's, who removes it. */
  readonly directory: string
  readonly signal?: AbortSignal
  readonly progress?: (progress: Progress) => void
}

export interface DownloadedPackage {
  readonly package: string
  readonly version: string
  readonly arch: string
  readonly sha256: string
  /** Where it was unpacked. */
  readonly root: string
}

/** What the distribution offers for one architecture. */
export interface PackageIndex {
  /** What a package depends on, by name; undefined when there is no such package. */
  dependencies(name: string): Promise<string[] | undefined>
  /** Fetches, verifies and unpacks packages, each into a directory of its own. */
  fetch(names: readonly string[]): Promise<DownloadedPackage[]>
}

/**
 * Runs `use` with the host's own package index where it has one for the architecture, and when that is missing
 * or out of date, with a fresh one. Fails with `unavailable` on a host without apt.
 */
export async function withPackages<T>(
  options: PackageOptions,
  use: (index: PackageIndex) => Promise<T>,
): Promise<T> {
  const native =
    { x64: 'amd64', ia32: 'i386', arm64: 'arm64' }[process.arch as string] === options.arch &&
    options.release === undefined
  if (native) {
    try {
      const directory = join(options.directory, 'host-index')
      return await use(await openIndex({ ...options, directory }, 'host'))
    } catch {
      // Whatever it is, such as lists that nobody has fetched yet: what our own index says counts.
      options.signal?.throwIfAborted()
    }
  }
  return use(await openIndex({ ...options, directory: join(options.directory, 'own-index') }, 'own'))
}

async function openIndex(options: PackageOptions, lists: 'host' | 'own'): Promise<PackageIndex> {
  const { directory, signal, progress, arch } = options
  await fs.mkdir(join(directory, 'cache/archives/partial'), { recursive: true })
  await fs.mkdir(join(directory, 'state/lists/partial'), { recursive: true })
  await fs.mkdir(join(directory, 'packages'))
  await fs.writeFile(join(directory, 'status'), '')
  const config = join(directory, 'apt.conf')
  await fs.writeFile(config, aptConfiguration(directory, arch, lists))
  const apt = (program: string, args: readonly string[], more: RunOptions = {}) =>
    runApt(program, ['-c', config, ...args], { signal, ...more })

  let refresh: VisorError | undefined
  if (lists === 'own') {
    progress?.({ phase: `reading the package index of ${arch}` })
    await fs.writeFile(join(directory, 'own.sources'), await readSources(options.release))
    const { code, stderr } = await apt('apt-get', ['update', '-q'], { timeoutMs: 300_000 })
    // One source may be away while the others have what is wanted; so this matters only when it is missing.
    if (code !== 0)
      refresh = new VisorError('failed', `The package index could not be read: ${lastLine(stderr)}`)
  }
  return {
    async dependencies(name) {
      const { code, stdout } = await apt('apt-cache', ['show', '--no-all-versions', name])
      if (code !== 0 || stdout.trim() === '') {
        if (refresh) throw refresh
        return undefined
      }
      const line = /^Depends: (.*)$/mu.exec(stdout)?.[1] ?? ''
      return line.split(',').map((dependency) => dependency.trim().split(/[\s:|(]/u)[0] ?? '')
    },
    fetch: (names) => fetchPackages(names, join(directory, 'packages'), apt, options),
  }
}

type Apt = (program: string, args: readonly string[], more?: RunOptions) => ReturnType<typeof run>

async function fetchPackages(
  names: readonly string[],
  directory: string,
  apt: Apt,
  { signal, progress }: PackageOptions,
): Promise<DownloadedPackage[]> {
  const listing = await apt('apt-get', ['download', '-q', '--print-uris', ...names])
  const files = parseUris(listing.stdout)
  if (listing.code !== 0 || files.length !== names.length)
    throw new VisorError(
      'failed',
      `The packages ${names.join(', ')} were not found: ${lastLine(listing.stderr)}`,
    )
  const total = files.reduce((sum, file) => sum + file.size, 0)
  const phase = `downloading ${files.map((file) => `${file.package} ${file.version}`).join(', ')}`
  const stopWatching = watchSize(directory, (done) => progress?.({ phase, done, total, unit: 'bytes' }))
  try {
    const download = await apt('apt-get', ['download', '-q', ...names], {
      cwd: directory,
      timeoutMs: 900_000,
    })
    if (download.code !== 0)
      throw new VisorError('failed', `The download failed: ${lastLine(download.stderr)}`, {
        remedy: 'See that the package sources of this host can be reached, then try again.',
      })
  } finally {
    stopWatching()
  }
  const unpacked: DownloadedPackage[] = []
  for (const { file, sha256, ...source } of files) {
    progress?.({ phase: `unpacking ${source.package}` })
    const path = join(directory, file)
    if ((await hashFile(path)) !== sha256)
      throw new VisorError('failed', `The package file '${file}' is not what the index says.`)
    const root = join(directory, source.package)
    await runChecked('dpkg-deb', ['--extract', path, root], { signal, timeoutMs: 300_000 })
    await fs.rm(path)
    unpacked.push({ package: source.package, version: source.version, arch: source.arch, sha256, root })
  }
  return unpacked
}

/** The lines of `apt-get download --print-uris`: 'URI' FILE SIZE SHA256:DIGEST. */
function parseUris(text: string) {
  return [...text.matchAll(/^'[^']*' ([^\s/]+) (\d+) SHA256:([0-9a-f]{64})$/gmu)].map(
    ([, file = '', size = '', sha256 = '']) => {
      const [name = '', version = '', arch = ''] = file.replace(/\.deb$/u, '').split('_')
      return { file, package: name, version: decodeURIComponent(version), arch, sha256, size: Number(size) }
    },
  )
}

async function runApt(program: string, args: readonly string[], options: RunOptions) {
  try {
    return await run(program, args, { ...options, env: { ...process.env, LC_ALL: 'C' } })
  } catch (error) {
    if (toVisorError(error).code !== 'unavailable') throw error
    throw new VisorError(
      'unavailable',
      "Images are built from the packages of Debian or Ubuntu, with 'apt-get', which this host does not have.",
      {
        remedy: 'Give a kernel and an initial RAM disk of your own (--kernel, --initrd).',
        cause: error,
      },
    )
  }
}

function aptConfiguration(directory: string, arch: string, lists: 'host' | 'own'): string {
  const quoted = (value: string) => `"${value.replaceAll('"', '%22')}"`
  const own = `
Dir::State ${quoted(join(directory, 'state'))};
Dir::State::status ${quoted(join(directory, 'status'))};
Dir::Etc::SourceList ${quoted(join(directory, 'own.sources'))};
Dir::Etc::SourceParts "/dev/null";
APT::Architecture ${quoted(arch)};
#clear APT::Architectures;
APT::Architectures { ${quoted(arch)}; };
`
  return `Dir::Cache ${quoted(join(directory, 'cache'))};
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
${lists === 'own' ? own : ''}`
}

async function readSources(instead?: string): Promise<string> {
  const directory = '/etc/apt/sources.list.d'
  const names = await fs.readdir(directory).catch(() => [])
  const paths = ['/etc/apt/sources.list', ...names.sort().map((name) => join(directory, name))]
  const files = await Promise.all(
    paths
      .filter((path) => path.endsWith('.list') || path.endsWith('.sources'))
      .map(async (name) => ({ name, text: await fs.readFile(name, 'utf8').catch(() => '') })),
  )
  const release = await fs.readFile('/etc/os-release', 'utf8').catch(() => '')
  const codename = /^VERSION_CODENAME="?([\w.-]+)/mu.exec(release)?.[1] ?? 'stable'
  const sources = distributionSources(files, codename, instead)
  if (sources === '')
    throw new VisorError(
      'unavailable',
      `No package source of the distribution's release '${codename}' is configured.`,
      {
        remedy:
          'Add it to /etc/apt/sources.list, or give a kernel and an initial RAM disk of your own (--kernel, --initrd).',
      },
    )
  return sources
}

/** Tells the size of what is in a directory again and again, until stopped. */
function watchSize(directory: string, tell: (bytes: number) => void): () => void {
  const look = async () => {
    const names = await fs.readdir(directory).catch(() => [])
    const sizes = await Promise.all(
      names.map((name) =>
        fs.stat(join(directory, name)).then(
          (stat) => (stat.isFile() ? stat.size : 0),
          () => 0,
        ),
      ),
    )
    tell(sizes.reduce((sum, size) => sum + size, 0))
  }
  tell(0)
  const timer = setInterval(() => void look(), 250)
  return () => clearInterval(timer)
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) || 'no reason was given.'
}
