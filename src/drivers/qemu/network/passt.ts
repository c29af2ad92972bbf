/**
 * Networks in user space by passt, a process beside that of the machine: it ends by itself when QEMU lets go of it.
 * The guest has the addresses of the host, and ports of the host lead to it. Source: passt(1), qemu(1) "-netdev stream".
 */
import { join } from 'node:path'
import {
  checkPasstSettings,
  explainPasst,
  type GuestProcess,
  type GuestUser,
  guestFolderName,
  passtArguments,
} from '../../../host/index.ts'
import { type Devices, type Interface, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { netdev, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { type Emulator, findProgram, isAtLeast } from '../emulator/emulator.ts'
import { adoptCompanions, endCompanion, startCompanion } from '../machine/companion.ts'
import { makeFile } from '../machine/guest-files.ts'
import type { Machine } from '../machine/machine.ts'
import type { GuestPaths } from '../paths.ts'

export const isPasst = ({ type, backend }: Pick<Interface, 'type' | 'backend'>): boolean =>
  type === 'user' && backend === 'passt'

/** Fails with `unsupported-config` where this host or QEMU cannot have it. */
export async function checkPasst(
  { devices }: { readonly devices: Devices },
  { version, path: emulator }: Emulator,
): Promise<void> {
  for (const [index, one] of devices.interfaces.entries()) {
    if (!isPasst(one)) continue
    const path = `devices.interfaces[${index}]`
    if (!isAtLeast(version, '7.2'))
      throw unsupported(`${path}.backend`, `passt needs QEMU 7.2, and ${emulator} is ${version}`)
    if (!(await findProgram('passt')))
      throw unsupported(
        `${path}.backend`,
        "the program 'passt' is not installed",
        "Install it: 'apt install passt' on Debian and Ubuntu, 'dnf install passt' on Fedora; or leave the backend out.",
      )
    checkPasstSettings(one, path)
  }
}

export function passtPart(id: string, socket: string): Part {
  return netdev('stream', { id, server: false, 'addr.type': 'unix', 'addr.path': socket })
}

/** Where QEMU finds it. */
export const passtSocket = (paths: GuestPaths, alias: string): string =>
  join(paths.passtDirectory(alias), guestFolderName, 's')

/**
 * Starts that of a card; resolves when QEMU can reach it. Fails with `failed` and what it said, such as that a port
 * is taken; nothing is left then.
 */
export async function startPasst(
  context: Context,
  { uuid, name }: CompleteDefinition,
  one: Interface,
  user: GuestUser | undefined,
): Promise<GuestProcess> {
  const program = await findProgram('passt')
  const { alias = '', backendLog } = one
  const what = `network of '${alias}' of domain '${name}'`
  if (program === undefined)
    throw new VisorError('unavailable', `The ${what} needs 'passt', which is not installed.`, {
      remedy: "Install it, such as by 'apt install passt'.",
    })
  const paths = context.paths.of(uuid)
  if (backendLog !== undefined) await makeFile(backendLog, 'log')
  const guest = await startCompanion(context, {
    directory: paths.passtDirectory(alias),
    name: `passt-${uuid}`,
    what,
    program,
    args: passtArguments(one, ['--socket', passtSocket(paths, alias)]),
    env: { PATH: process.env.PATH },
    socket: passtSocket(paths, alias),
    user,
    access: backendLog === undefined ? [] : [{ path: backendLog, write: true, what: 'log' }],
    // Each port that leads to the guest is an open socket.
    limits: { openFiles: 2 ** 20 },
    details: { uuid, alias },
  }).catch((error: unknown) => {
    throw explainPasst(error)
  })
  watch(context, guest, what)
  return guest
}

/** It is gone when QEMU has let go of it: then nothing of it is to stay. */
function watch({ log }: Context, guest: GuestProcess, what: string): void {
  void guest.exited
    .then(() => guest.release())
    .catch((error: unknown) => log.warn({ error: String(error) }, `The ${what} left something behind.`))
}

/** Finds those whose machines run; the others, which nobody talks to, are ended. */
export function adoptPassts(
  context: Context,
  machineOf: (uuid: string) => Machine | undefined,
): Promise<void> {
  return adoptCompanions(context, context.paths.passts, machineOf, ({ companions }, guest) => {
    watch(context, guest, 'network of a guest')
    companions.add(() => endCompanion(guest))
  })
}
