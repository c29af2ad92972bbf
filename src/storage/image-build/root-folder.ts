/**
 * Installs packages into a folder, as root, apart from the host. The scripts of packages run with namespaces of their own
 * for mounts, processes, names, IPC and the network, of which that of the network is empty; without the powers that
 * reach the kernel itself; and in the folder as their root. All of it ends with visor, however that ends: the first
 * process of the namespace is killed with its parent, and takes the others and all mounts with it.
 *
 * mmdebstrap does the work in its mode `root`: its other modes either give files owners that are not theirs (fakechroot,
 * proot) or need user namespaces and ranges of ids for root (unshare), which not all hosts allow.
 * Source: unshare(1), setpriv(1), capabilities(7), mmdebstrap(1).
 */
import { promises as fs } from 'node:fs'
import { dirname, join } from 'node:path'
import { run } from '../../host/index.ts'
import { type Progress, VisorError } from '../../model/index.ts'

export interface RootFolderOptions {
  /** Folder with packages and their index. */
  readonly archive: string
  readonly architecture: string
  readonly names: readonly string[]
  /** Programs that are run when the first packages are there, and when all are; their argument is the folder. */
  readonly early: string
  readonly late: string
  /** Made; must not be there. */
  readonly folder: string
  /** For what is only needed on the way. */
  readonly scratch: string
  /** Seconds since 1970, for files that are made. */
  readonly epoch: number
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((progress: Progress) => void) | undefined
}

/** What nothing of a package needs, and could change the host: see capabilities(7). */
const withheld = ['sys_module', 'sys_rawio', 'sys_boot', 'sys_time', 'sys_ptrace', 'sys_nice', 'sys_resource']
  .concat(['syslog', 'mac_admin', 'mac_override', 'wake_alarm', 'block_suspend', 'bpf', 'perfmon'])
  .map((name) => `-${name}`)

/** Fails with `unavailable` when a program is missing, `denied` when we are not root, `failed` with what went wrong. */
export async function makeRootFolder(options: RootFolderOptions): Promise<void> {
  try {
    await install(options)
  } catch (error) {
    // Processes of the namespace that were just killed may still be at work for a moment.
    const patience = { maxRetries: 20, retryDelay: 50 }
    for (const path of [options.folder, options.scratch])
      await fs.rm(path, { recursive: true, force: true, ...patience }).catch(() => {})
    throw error
  }
}

async function install(options: RootFolderOptions): Promise<void> {
  const { signal, progress, names, scratch, folder } = options
  await requireTools()
  progress?.({ phase: 'installing', done: 0, total: names.length, unit: 'steps' })
  const configured = new Set<string>()
  const said = lastLines(40)
  const [program, ...args] = [...apart, ...mmdebstrap(options)]
  const { code } = await run(program, args, {
    ...(signal && { signal }),
    timeoutMs: 7_200_000,
    maxBytes: 64 * 2 ** 20,
    cwd: dirname(folder),
    env: {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      LC_ALL: 'C.UTF-8',
      HOME: '/root',
      TMPDIR: scratch,
      SOURCE_DATE_EPOCH: String(options.epoch),
      DEBIAN_FRONTEND: 'noninteractive',
    },
    onErrorOutput: said.add,
    onOutput: (text) => {
      said.add(text)
      for (const [, name] of text.matchAll(/^Setting up ([^\s:]+)/gmu)) if (name) configured.add(name)
      progress?.({ phase: 'installing', done: configured.size, total: names.length, unit: 'steps' })
    },
  })
  if (code !== 0) throw failure(said.lines())
}

const apart = [
  ...['setpriv', '--pdeathsig', 'KILL', '--bounding-set', withheld.join(','), '--'],
  ...[
    'unshare',
    '--mount',
    '--pid',
    '--net',
    '--ipc',
    '--uts',
    '--fork',
    '--kill-child',
    '--mount-proc',
    '--',
  ],
] as const

function mmdebstrap({ archive, architecture, names, early, late, folder }: RootFolderOptions): string[] {
  return [
    ...['mmdebstrap', '--mode=root', '--format=directory', '--variant=essential', '--verbose'],
    `--architectures=${architecture}`,
    `--include=${names.join(',')}`,
    `--essential-hook=${early}`,
    `--customize-hook=${late}`,
    // No suite: the index of the folder has no name.
    ...['', folder, `deb [trusted=yes] copy:${encodeURI(archive)} ./`],
  ]
}

async function requireTools(): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new VisorError('denied', 'Disks are built as root: the files of a system have owners.', {
      remedy: "Let the host's visord do it (--connect qemu:///system).",
    })
  for (const [tool, name] of [
    ['mmdebstrap', 'mmdebstrap'],
    ['setpriv', 'util-linux'],
    ['unshare', 'util-linux'],
  ] as const)
    await run(tool, ['--version'], { timeoutMs: 30_000 }).catch((cause: unknown) => {
      throw new VisorError('unavailable', `Disks are built with '${tool}', which is not installed.`, {
        remedy: `Install the package '${name}'.`,
        cause,
      })
    })
}

function failure(lines: readonly string[]): VisorError {
  const text = lines.join('\n')
  if (/No space left on device|ENOSPC/iu.test(text))
    return new VisorError('failed', 'No space is left for the files of the system.', {
      remedy: 'Make room there.',
    })
  const told = lines.filter((line) => /^(?:dpkg: error|E: |\S+: error|.*: not found$)/iu.test(line))
  return new VisorError(
    'failed',
    `The packages could not be installed: ${(told[0] ?? lines.at(-1) ?? '').trim()}`,
  )
}

function lastLines(count: number) {
  let kept: string[] = []
  return {
    add(text: string) {
      kept = [...kept, ...text.split('\n').filter((line) => line.trim() !== '')].slice(-count)
    },
    lines: () => kept,
  }
}

/** Writes files by path below a folder. */
export async function writeTree(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await fs.mkdir(dirname(join(folder, path)), { recursive: true })
    await fs.writeFile(join(folder, path), content)
  }
}
