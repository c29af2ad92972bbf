/** Folders of the host that a machine sees, as people write them. */
import { resolve } from 'node:path'
import { type DevicesInput, VisorError } from '../../model/index.ts'

/** What `--share` asks for. */
export interface ShareSpec {
  /** Absolute, on the daemon's host. */
  readonly source: string
  /** The name by which the guest mounts it. */
  readonly target: string
  readonly readonly: boolean
}

export type Filesystem = NonNullable<DevicesInput['filesystems']>[number]

export const shareUsage = 'HOSTDIR:TAG[:ro]'
const remedy = `Write ${shareUsage}, such as '/srv/data:data' or '/srv/data:data:ro'.`
/** The longest name of a share by 9p; virtiofs has 36 bytes. */
const longestTag = 31

/** '/srv/data:data', './site:web:ro'. A folder may have colons in its name. Fails with `invalid-argument`. */
export function parseShare(text: string, cwd: string = process.cwd()): ShareSpec {
  const [, rest = text, mode] = /^(.*):(ro|rw)$/su.exec(text) ?? []
  const [, folder, tag] = /^(.+):([^:]+)$/su.exec(rest) ?? []
  const refuse = (what: string, more = remedy) =>
    new VisorError('invalid-argument', `The share '${text.slice(0, 200)}' ${what}.`, { remedy: more })
  if (folder === undefined || tag === undefined)
    throw refuse('names no folder, or no tag by which the guest mounts it')
  if (folder.includes('\0') || /\p{Cc}/u.test(tag)) throw refuse('has control characters')
  if (Buffer.byteLength(tag) > longestTag)
    throw refuse(
      `has a tag of ${Buffer.byteLength(tag)} bytes; ${longestTag} are the most there can be`,
      'Choose a shorter one.',
    )
  return { source: resolve(cwd, folder), target: tag, readonly: mode === 'ro' }
}

/** A program serves it, which keeps owners; or QEMU itself, where all files are of the guest's own user. */
export function shareDevice(spec: ShareSpec, driver: 'virtiofs' | '9p'): Filesystem {
  return driver === 'virtiofs'
    ? { ...spec, driver: 'virtiofs' }
    : { ...spec, driver: 'path', accessMode: 'squash' }
}

/**
 * Does it with virtiofs, and with 9p where the definition cannot have that; says which it was. What a machine that
 * runs cannot have is not tried otherwise.
 */
export async function withBestShares<T>(
  specs: readonly ShareSpec[],
  work: (filesystems: Filesystem[]) => Promise<T>,
): Promise<{ readonly result: T; readonly driver: 'virtiofs' | '9p'; readonly why?: string }> {
  try {
    return { result: await work(specs.map((spec) => shareDevice(spec, 'virtiofs'))), driver: 'virtiofs' }
  } catch (error) {
    const isDriver =
      error instanceof VisorError &&
      error.code === 'unsupported-config' &&
      /^devices\.filesystems\[\d+\]\.(?:driver|readonly)$/u.test(error.path ?? '')
    if (specs.length === 0 || !isDriver) throw error
    const result = await work(specs.map((spec) => shareDevice(spec, '9p')))
    return { result, driver: '9p', why: error.message.replace(/^devices\.\S+: /u, '') }
  }
}

/** What a person does next in the guest. */
export function mountCommand({ target }: ShareSpec, driver: 'virtiofs' | '9p'): string {
  const word = /^[\w.-]+$/u.test(target) ? target : `'${target.replaceAll("'", "'\\''")}'`
  return driver === 'virtiofs'
    ? `mount -t virtiofs ${word} /mnt`
    : `mount -t 9p -o trans=virtio,version=9p2000.L ${word} /mnt`
}
