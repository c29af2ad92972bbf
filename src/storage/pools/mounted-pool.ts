/** Pools that are mounted: a file system of a block device, or of a server. */
import { readFile, realpath } from 'node:fs/promises'
import { run, runChecked } from '../../host/index.ts'
import { type PoolDefinition, VisorError } from '../../model/index.ts'
import { clearScratch, folderVolumes } from '../volumes/folder/index.ts'
import type { PoolBackend, PoolSurroundings } from './backend.ts'
import { enterFolder, makeFolder, removeFolder, usageOf } from './folder-pool.ts'

const mountTimeoutMs = 60_000

/** A pool of type `fs` or `netfs`. Source: libvirt's formatstorage; mount(8). */
export function mountedPool(definition: PoolDefinition, around: PoolSurroundings): PoolBackend {
  const { path: folder = '', name, permissions, copyOnWrite, mountOptions } = definition
  const { source, type } = mountSource(definition)

  async function mountedFrom(): Promise<string | undefined> {
    const mounts = await readFile('/proc/self/mounts', 'utf8')
    return mounts
      .split('\n')
      .map((line) => line.split(' '))
      .findLast(([, place = '']) => plainPath(place) === folder)?.[0]
  }

  return {
    volumes: folderVolumes({ folder, ...around, noCow: copyOnWrite === false }),
    isThere: async () => (await mountedFrom()) !== undefined,
    async start({ signal }) {
      const there = await mountedFrom()
      if (there !== undefined && !(await isSameSource(plainPath(there), source)))
        throw new VisorError('invalid-state', `'${plainPath(there)}' is mounted on '${folder}' already.`, {
          object: { kind: 'pool', name },
          remedy: 'Unmount it, or give the pool another folder.',
        })
      await makeFolder(folder, undefined)
      const options = mountOptions.length > 0 ? ['-o', mountOptions.join(',')] : []
      const kind = type === undefined || type === 'auto' ? [] : ['-t', type]
      if (there === undefined)
        await runChecked('mount', [...kind, ...options, source, folder], {
          timeoutMs: mountTimeoutMs,
          ...(signal && { signal }),
        }).catch((cause: unknown) => {
          throw cannotMount(cause, source, definition)
        })
      await enterFolder(folder, name)
      await clearScratch(folder)
    },
    tidy: () => clearScratch(folder),
    async stop() {
      if ((await mountedFrom()) === undefined) return
      const { code, stderr } = await run('umount', [folder], { timeoutMs: mountTimeoutMs })
      if (code !== 0)
        throw new VisorError('busy', `The pool '${name}' cannot be unmounted: ${stderr.trim()}.`, {
          object: { kind: 'pool', name },
          remedy: 'Stop the machines that have disks in it, and leave its folder.',
        })
    },
    usage: () => usageOf(folder),
    async build({ overwrite = false, signal }) {
      await makeFolder(folder, permissions)
      if (definition.type === 'fs') await makeFileSystem(definition, overwrite, signal)
    },
    delete: () => removeFolder(folder, name),
  }
}

/** Names of devices lead to others; an image file is mounted by a loop device (loop(4)). */
async function isSameSource(there: string, wanted: string): Promise<boolean> {
  if (there === wanted) return true
  const real = (path: string) => realpath(path).catch(() => path)
  const loop = /^\/dev\/(?<name>loop\d+)$/u.exec(there)?.groups?.name
  const file = loop && (await readFile(`/sys/block/${loop}/loop/backing_file`, 'utf8').catch(() => '')).trim()
  return (await real(wanted)) === (file || (await real(there)))
}

/** proc(5): spaces and their like are octal there. */
const plainPath = (text: string): string =>
  text.replace(/\\(?<code>[0-7]{3})/gu, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)))

function mountSource({ type, source: { devices, hosts, directory = '', format } }: PoolDefinition): {
  readonly source: string
  readonly type: string | undefined
} {
  if (type === 'fs') return { source: devices[0]?.path ?? '', type: format }
  const [{ name = '' } = {}] = hosts
  const host = name.includes(':') ? `[${name}]` : name
  if (format === 'cifs') return { source: `//${host}${directory}`, type: 'cifs' }
  return { source: `${host}:${directory}`, type: format === undefined || format === 'auto' ? 'nfs' : format }
}

function cannotMount(
  cause: unknown,
  source: string,
  { name, type, source: { format } }: PoolDefinition,
): VisorError {
  const said = cause instanceof Error ? cause.message : String(cause)
  const needs = type === 'netfs' ? (format === 'cifs' ? 'cifs-utils' : 'nfs-common') : undefined
  return new VisorError('failed', `'${source}' of the pool '${name}' cannot be mounted: ${said}`, {
    cause,
    object: { kind: 'pool', name },
    remedy: needs
      ? `See that the server can be reached and lets this host in, and that ${needs} is installed.`
      : "See that the device is there and has a file system ('blkid' says which): 'visor pool build' makes one.",
  })
}

/** File systems that can be made, and how over one that is there. Source: mkfs(8) and the programs of each. */
const makers: Readonly<
  Record<string, { readonly program: string; readonly quiet: readonly string[]; readonly force: string }>
> = {
  ext2: { program: 'mkfs.ext2', quiet: ['-q'], force: '-F' },
  ext3: { program: 'mkfs.ext3', quiet: ['-q'], force: '-F' },
  ext4: { program: 'mkfs.ext4', quiet: ['-q'], force: '-F' },
  xfs: { program: 'mkfs.xfs', quiet: ['-q'], force: '-f' },
  btrfs: { program: 'mkfs.btrfs', quiet: ['-q'], force: '-f' },
}

/** Fails with `already-exists` when the device has something on it. */
async function makeFileSystem(
  { name, source: { devices, format = 'auto' } }: PoolDefinition,
  overwrite: boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  const device = devices[0]?.path ?? ''
  const found = await run('blkid', ['-p', '-o', 'value', '-s', 'TYPE', device])
  const there = found.stdout.trim()
  if (there !== '' && (there === format || format === 'auto') && !overwrite) return
  if (found.code === 0 && !overwrite)
    throw new VisorError(
      'already-exists',
      `'${device}' has something on it: ${there || 'a partition table'}.`,
      {
        object: { kind: 'pool', name },
        remedy: 'Say that it may be lost: overwrite.',
      },
    )
  const maker = makers[format]
  if (!maker)
    throw new VisorError('unsupported-config', `No file system of type '${format}' can be made.`, {
      path: 'source.format',
      remedy: `Choose one of ${Object.keys(makers).join(', ')}, or make it yourself.`,
    })
  await runChecked(maker.program, [...maker.quiet, maker.force, device], {
    timeoutMs: 600_000,
    ...(signal && { signal }),
  })
}
