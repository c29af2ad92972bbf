/**
 * Processes beside that of a machine, which QEMU reaches by a socket: each a guest process of its own, found again
 * by a later daemon as machines are, and ended with the machine.
 */
import { access } from 'node:fs/promises'
import { basename, join } from 'node:path'
import {
  adoptGuests,
  type FileAccess,
  type GuestProcess,
  type GuestUser,
  guestOutputName,
  openConsoleLog,
  type ProcessLimits,
  spawnGuest,
} from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { Machine } from './machine.ts'

const startTimeoutMs = 20_000

export interface CompanionOptions {
  /** Its directory, for it alone. */
  readonly directory: string
  /** Name of its control groups. */
  readonly name: string
  /** For messages: "TPM of domain 'web'". */
  readonly what: string
  readonly program: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** It is ready when this is there. */
  readonly socket: string
  readonly user: GuestUser | undefined
  readonly access: readonly FileAccess[]
  readonly limits?: ProcessLimits
  readonly details: unknown
}

/** Starts one; resolves when QEMU can reach it. Fails with `failed` and what it said; nothing is left then. */
export async function startCompanion(context: Context, options: CompanionOptions): Promise<GuestProcess> {
  const { socket, what, ...spawning } = options
  const { cgroups, owner } = context
  const guest = await spawnGuest({ ...spawning, cgroups, owner })
  try {
    await appears(socket, guest, what)
    await guest.confirm(options.details)
    return guest
  } catch (error) {
    await endCompanion(guest)
    throw error
  }
}

async function appears(socket: string, guest: GuestProcess, what: string): Promise<void> {
  let ended = false
  void guest.exited.then(() => {
    ended = true
  })
  const isThere = () =>
    access(socket).then(
      () => true,
      () => false,
    )
  const deadline = performance.now() + startTimeoutMs
  for (let pause = 1; !(await isThere()); pause = Math.min(pause * 2, 50)) {
    if (ended || performance.now() > deadline) {
      const said = (await openConsoleLog(join(guest.directory, guestOutputName)).tail(2_000)).toString()
      throw new VisorError('failed', `The ${what} did not start: ${said.trim() || 'it said nothing'}`)
    }
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}

/** Ends it and removes what lives as long as it. */
export async function endCompanion(guest: GuestProcess): Promise<void> {
  await guest.kill()
  await guest.release()
}

/** Finds those below `parent` whose machines run, as their folders' names say; the others, which nobody talks to, are ended. */
export async function adoptCompanions(
  { owner }: Context,
  parent: string,
  machineOf: (uuid: string) => Machine | undefined,
  keep: (machine: Machine, guest: GuestProcess) => void,
): Promise<void> {
  for (const guest of await adoptGuests(parent, owner)) {
    const machine = machineOf(basename(guest.directory).slice(0, uuidLength))
    if (machine) keep(machine, guest)
    else await endCompanion(guest)
  }
}

const uuidLength = 36
