/** What visor makes for a guest before it starts: its logs, and the surroundings of its process. */
import { mkdir, open, writeFile } from 'node:fs/promises'
import { type GuestUser, makePrivateDirectory } from '../../../host/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { unsupported } from '../definition/unsupported.ts'
import { loggedPorts, portsOf } from '../devices/ports/ports.ts'
import { cannotOpen } from '../disks/disk-image.ts'
import { cookieFile, formatCookies, namedSources, neededSecrets } from '../disks/disk-secrets.ts'
import type { GuestPaths } from '../paths.ts'

/** Logs that belong to the guest's user, in a folder that does not; empty for a `fresh` start. */
export async function makeConsoleLogs(
  definition: CompleteDefinition,
  paths: GuestPaths,
  { fresh, user }: { readonly fresh: boolean; readonly user: GuestUser | undefined },
): Promise<void> {
  const ports = loggedPorts(definition.devices)
  if (ports.length === 0) return
  await mkdir(paths.consoleDirectory, { recursive: true, mode: 0o711 })
  await Promise.all(
    ports.map(async ({ alias = '', logFile }) => {
      if (logFile !== undefined) return
      const file = await open(paths.consoleLog(alias), fresh ? 'w' : 'a', 0o600)
      try {
        if (user) await file.chown(user.uid, user.gid)
      } finally {
        await file.close()
      }
    }),
  )
}

/** Files that ports write to: QEMU's user can append to one that is there, and make none. */
export async function makePortFiles({ devices }: CompleteDefinition): Promise<void> {
  for (const { type, path, logFile } of portsOf(devices)) {
    if (type === 'file' && path !== undefined) await makeFile(path, 'output of a port')
    if (logFile !== undefined) await makeFile(logFile, 'log of a port')
  }
}

/** Files that are modules of memory, which QEMU makes as large as they shall be. */
export async function makeMemoryFiles({ devices }: CompleteDefinition): Promise<void> {
  for (const { path } of devices.memories)
    if (path !== undefined && !path.startsWith('/dev/')) await makeFile(path, 'module of memory')
}

/**
 * The secrets that visor keeps, and the cookies of web servers, in files of a run: what is on a command line everybody
 * reads. They go with the guest's directory. Fails as {@link GuestStorage.secret} does.
 */
export async function makeSecretFiles(
  { storage }: Pick<Context, 'storage'>,
  { devices }: CompleteDefinition,
  paths: GuestPaths,
): Promise<void> {
  const put = async (id: string, content: string | Uint8Array) => {
    await makePrivateDirectory(paths.directory)
    await writeFile(paths.secret(id), content, { mode: 0o600 })
  }
  for (const disk of devices.disks)
    for (const { name, source } of namedSources(disk)) {
      if (source.cookies.length > 0) await put(cookieFile(name), formatCookies(source))
      for (const { id, secret, usage } of neededSecrets(source, name)) {
        if (secret.file !== undefined) continue
        if (!storage)
          throw unsupported('devices.disks', 'there is no storage that keeps secrets', 'Name a file with it.')
        await put(id, await storage.secret(secret, usage))
      }
    }
}

/** Makes a file that is not there, for QEMU to fill. */
export async function makeFile(path: string, what: string): Promise<void> {
  const file = await open(path, 'a', 0o600).catch((cause) => {
    throw cannotOpen(path, cause, what)
  })
  await file.close()
}

/** What QEMU gets of our environment: nothing that is only ours. */
export function guestEnvironment(
  { clock }: CompleteDefinition,
  paths: GuestPaths,
  user: GuestUser | undefined,
): Record<string, string> {
  const kept = ['PATH', 'LANG', 'LC_ALL', 'TMPDIR', 'LD_LIBRARY_PATH']
  const personal = user ? [] : ['HOME', 'XDG_RUNTIME_DIR']
  const taken = [...kept, ...personal].flatMap((key) => {
    const value = process.env[key]
    return value ? [[key, value] as const] : []
  })
  // QEMU takes its local time from there.
  const zone: Record<string, string> =
    clock.offset === 'timezone' && clock.timezone ? { TZ: clock.timezone } : {}
  return { ...Object.fromEntries(taken), ...zone, ...(user ? { HOME: paths.folder } : {}) }
}
