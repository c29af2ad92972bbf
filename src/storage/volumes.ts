import { promises as fs } from 'node:fs'
import { join } from 'node:path'
import type { Log, Volumes } from '../driver/index.ts'
import { runChecked } from '../host/index.ts'
import { notFound, VisorError, type Volume } from '../model/index.ts'

/** No path and nothing hidden; the ending says the format. */
const namePattern = /^[a-z0-9][\w.-]{0,200}\.(?<format>raw|qcow2)$/iu
const sectorBytes = 512
const createTimeoutMs = 60_000
const temporary = /^\.new-/u

/**
 * The disks of a state directory, in its folder `volumes`. A disk is there with its full size or not at all: it
 * is made under another name first; what was cut short is removed before the first disk of the next run is made.
 */
export function openVolumes({ stateDirectory, log }: { stateDirectory: string; log: Log }): Volumes {
  const directory = join(stateDirectory, 'volumes')
  /** Once, when there is something to make. */
  let ready: Promise<void> | undefined

  return {
    async list() {
      const names = await fs.readdir(directory).catch(() => [])
      const volumes = await Promise.all(names.filter((name) => namePattern.test(name)).map(read))
      return volumes.filter((volume) => volume !== undefined).sort((a, b) => (a.name < b.name ? -1 : 1))
    },
    async get(name) {
      return (await read(checkName(name))) ?? Promise.reject(notFound('volume', name))
    },
    async create(name, { sizeBytes, signal, progress }) {
      const path = join(directory, checkName(name))
      ready ??= prepare(directory)
      await ready
      if (await read(name)) throw alreadyExists(name)
      progress?.({ phase: 'making the disk' })
      const scratch = join(directory, `.new-${crypto.randomUUID()}`)
      try {
        await make(scratch, formatOf(name), Math.ceil(sizeBytes / sectorBytes) * sectorBytes, signal)
        // A link never replaces a file there is, as a rename would.
        await fs.link(scratch, path)
      } catch (error) {
        throw (error as NodeJS.ErrnoException).code === 'EEXIST' ? alreadyExists(name) : inWords(name, error)
      } finally {
        await fs.rm(scratch, { force: true })
      }
      await flush(directory)
      log.info({ volume: name, sizeBytes }, 'volume made')
      return this.get(name)
    },
    async remove(name) {
      const path = join(directory, checkName(name))
      if (!(await read(name))) throw notFound('volume', name)
      await fs.rm(path, { force: true })
      await flush(directory)
      log.info({ volume: name }, 'volume removed')
    },
  }

  async function read(name: string): Promise<Volume | undefined> {
    const path = join(directory, name)
    try {
      const stat = await fs.stat(path)
      if (!stat.isFile()) return undefined
      const format = formatOf(name)
      const capacityBytes = format === 'raw' ? stat.size : await readQcow2Size(path)
      const createdAt = stat.birthtime.toISOString()
      return { name, path, format, capacityBytes, allocationBytes: stat.blocks * sectorBytes, createdAt }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw inWords(name, error)
    }
  }
}

async function prepare(directory: string): Promise<void> {
  const names = await fs.readdir(directory).catch(() => [])
  for (const name of names) if (temporary.test(name)) await fs.rm(join(directory, name), { force: true })
  await fs.mkdir(directory, { recursive: true, mode: 0o700 })
}

function checkName(name: string): string {
  if (namePattern.test(name)) return name
  throw new VisorError('invalid-argument', `'${name.slice(0, 250)}' is no name for a volume.`, {
    remedy: "Use letters, digits, '.', '-' and '_', and end it in '.qcow2' or '.raw'.",
  })
}

function formatOf(name: string): Volume['format'] {
  return namePattern.exec(name)?.groups?.format?.toLowerCase() === 'qcow2' ? 'qcow2' : 'raw'
}

async function make(
  path: string,
  format: Volume['format'],
  bytes: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (format === 'raw') await fs.writeFile(path, '', { flag: 'wx', mode: 0o600 })
  else {
    const args = ['create', '-q', '-f', 'qcow2', path, String(bytes)]
    await runChecked('qemu-img', args, { timeoutMs: createTimeoutMs, ...(signal && { signal }) })
    await fs.chmod(path, 0o600)
  }
  const handle = await fs.open(path, 'r+')
  try {
    if (format === 'raw') await handle.truncate(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Size the guest sees: a big-endian number at byte 24 of the header (QEMU's docs/interop/qcow2.txt). */
async function readQcow2Size(path: string): Promise<number> {
  const handle = await fs.open(path)
  try {
    const header = Buffer.alloc(32)
    await handle.read(header, 0, header.length, 0)
    if (header.toString('latin1', 0, 4) !== 'QFI\xfb') throw new Error('it is no qcow2 image')
    return Number(header.readBigUInt64BE(24))
  } finally {
    await handle.close()
  }
}

async function flush(directory: string): Promise<void> {
  const handle = await fs.open(directory)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function alreadyExists(name: string): VisorError {
  return new VisorError('already-exists', `There is already a volume '${name}'.`, {
    remedy: 'Choose another name, or remove that one first: visor volume remove.',
    object: { kind: 'volume', name },
  })
}

function inWords(name: string, error: unknown): VisorError {
  if (error instanceof VisorError)
    return error.code === 'unavailable'
      ? new VisorError('unavailable', error.message, {
          cause: error,
          remedy:
            "Install qemu-utils, or use a raw disk, which needs no program: a name that ends in '.raw'.",
        })
      : error
  const reason = error instanceof Error ? error.message : String(error)
  return new VisorError('failed', `The volume '${name}': ${reason}.`, {
    cause: error,
    object: { kind: 'volume', name },
  })
}
