/**
 * The processes that serve folders to a machine (virtiofs), one for each share. Each ends by itself when QEMU lets go
 * of it, at the latest with its machine, and is found again by a later daemon as machines are.
 *
 * As root it has root's rights, since the files of the guest have whatever owners the guest gives them; it shuts
 * itself into the folder it serves. Without root it is us, in a user namespace where we are the only user.
 */
import { closeSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { basename } from 'node:path'
import {
  adoptGuests,
  checkSocketPath,
  type GuestProcess,
  type GuestUser,
  listenFor,
  openReadOnlyFolder,
  spawnGuest,
} from '../../../../host/index.ts'
import { type DomainDefinition, type Filesystem, VisorError } from '../../../../model/index.ts'
import type { Context } from '../../context.ts'
import type { CompleteDefinition } from '../../definition/definition.ts'
import { unsupported } from '../../definition/unsupported.ts'
import { lastOutput, type Machine } from '../../machine/machine.ts'
import { isVirtiofs } from './filesystems.ts'
import { checkProgram, findVirtiofsd, serveCommand, type Virtiofsd } from './virtiofsd.ts'

/** A share that a process of ours serves. */
interface Share {
  readonly alias: string
  readonly target: string
  readonly guest: GuestProcess
  /** What it said when it ended badly by itself. */
  failure?: string
  /** Ends it and removes what lives as long as it. */
  end(): Promise<void>
}

/** What a QEMU takes from letting go of its shares to its end. */
const endTimeMs = 1_500

/** Of each machine, those that are there, or were lost. */
const sharesOf = new WeakMap<Machine, Map<string, Pick<Share, 'target' | 'failure' | 'end'>>>()

const isServedHere = (one: Filesystem): boolean => isVirtiofs(one) && one.socket === undefined

type FindProgram = (path: string | undefined) => Promise<Virtiofsd | undefined>

/** Fails with `unsupported-config` where this host cannot serve a share. */
export async function checkShares(
  { devices }: DomainDefinition,
  find: FindProgram = findVirtiofsd,
): Promise<void> {
  for (const [index, one] of devices.filesystems.entries()) {
    if (!isServedHere(one)) continue
    const path = `devices.filesystems[${index}]`
    const program = await find(one.binary)
    if (program) checkProgram(one, program, path)
    else throw missingProgram(one, path)
  }
}

function missingProgram({ binary }: Filesystem, path: string): VisorError {
  if (binary !== undefined)
    return unsupported(
      `${path}.binary`,
      `'${binary}' is no program that serves folders (virtiofsd), or others than root can change it`,
      'Correct it, or leave it out.',
    )
  return unsupported(
    `${path}.driver`,
    "the program 'virtiofsd', which serves it, is not installed",
    "Install it: 'apt install virtiofsd' on Debian and Ubuntu (before Debian 13: qemu-system-common), 'dnf install virtiofsd' on Fedora; or use the driver 'path' (9p).",
  )
}

/** Starts what serves the shares of a machine, or those of them that are asked for; all or none. */
export async function startShares(
  context: Context,
  definition: CompleteDefinition,
  user: GuestUser | undefined,
  wanted: (one: Filesystem) => boolean = () => true,
): Promise<Shares> {
  const shares: Share[] = []
  const end = async () => {
    for (const share of shares) await share.end()
  }
  try {
    for (const one of definition.devices.filesystems)
      if (isServedHere(one) && wanted(one)) shares.push(await startShare(context, definition, one, user))
  } catch (error) {
    await end()
    throw error
  }
  return {
    end,
    keepWith(machine) {
      for (const share of shares) keepShare(context, machine, share)
    },
    explain: (error) => explain(shares, error),
  }
}

export interface Shares {
  end(): Promise<void>
  /** They end with this machine from now on, and their loss is told. */
  keepWith(machine: Machine): void
  /** Why QEMU failed, where that was for one of them. */
  explain(error: unknown): Promise<unknown>
}

async function startShare(
  { paths, cgroups, owner }: Context,
  { uuid, name }: CompleteDefinition,
  one: Filesystem,
  user: GuestUser | undefined,
): Promise<Share> {
  const { alias = '', target, source = '' } = one
  const program = await findVirtiofsd(one.binary)
  if (!program)
    throw new VisorError('unavailable', `The share '${target}' of domain '${name}' needs 'virtiofsd'.`, {
      remedy: "Install it, such as by 'apt install virtiofsd'.",
    })
  const { share: socketOf, shareDirectory } = paths.of(uuid)
  const directory = shareDirectory(alias)
  checkSocketPath(socketOf(alias))
  // QEMU passes through to the socket, which is its own.
  await mkdir(directory, { recursive: true, mode: 0o711 })
  const opened: number[] = []
  try {
    opened.push(await listenFor(socketOf(alias), user))
    if (one.readonly && !program.readonly) opened.push(await openReadOnlyFolder(source))
    const guest = await spawnGuest({
      directory,
      name: `virtiofsd-${uuid}-${alias}`,
      ...serveCommand(one, program, { socket: 3, folder: opened[1] === undefined ? undefined : 4 }),
      env: { PATH: process.env.PATH },
      files: opened,
      cgroups,
      owner,
      details: { uuid, alias, target },
    })
    await guest.confirm({ uuid, alias, target })
    return shareOf(guest, alias, target)
  } finally {
    for (const fd of opened) closeSync(fd)
  }
}

function shareOf(guest: GuestProcess, alias: string, target: string): Share {
  let ending: Promise<void> | undefined
  return {
    alias,
    target,
    guest,
    end() {
      ending ??= guest.kill().then(() => guest.release())
      return ending
    },
  }
}

/** What QEMU says of a share that failed tells nothing. */
async function explain(shares: readonly Share[], error: unknown): Promise<unknown> {
  for (const { guest, target } of shares) {
    const exit = await Promise.race([guest.exited, pause(50)])
    if (!exit || (exit.code === 0 && !exit.signal)) continue
    const said = await lastOutput(guest.directory)
    return new VisorError(
      'failed',
      `The share '${target}' could not be served: ${said || 'virtiofsd ended at once'}.`,
      { cause: error },
    )
  }
  return error
}

function pause(timeoutMs: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(resolve, timeoutMs, undefined))
}

function keepShare({ log }: Context, machine: Machine, share: Share): void {
  const { alias, target, guest } = share
  const shares = sharesOf.get(machine) ?? new Map()
  sharesOf.set(machine, shares.set(alias, share))
  machine.companions.add(share.end)
  void guest.exited.then(async ({ signal, code }) => {
    // QEMU lets go of it when it ends, which may be seen a moment later.
    const over = await Promise.race([machine.guest.exited, pause(endTimeMs)])
    const isEnding = machine.state.state === 'shutdown' || machine.state.ending !== undefined
    if (over || isEnding || sharesOf.get(machine)?.get(alias) !== share) return
    const how = signal ? ` by ${signal}` : code ? ` with exit code ${code}` : ''
    share.failure = lostMessage(target, how)
    const { name } = machine.details.definition
    log.warn({ domain: name, share: target, said: await lastOutput(guest.directory) }, share.failure)
    machine.tell({ type: 'changed', reason: 'share-lost', message: share.failure })
  })
}

const lostMessage = (target: string, how: string): string =>
  `The program that serves the share '${target}' ended${how}: the guest waits for its files in vain until its machine is stopped and started anew.`

/** What is the matter with the shares of a machine; undefined when nothing is. */
export function lostShares(machine: Machine): string | undefined {
  const failures = [...(sharesOf.get(machine)?.values() ?? [])].flatMap(({ failure }) => failure ?? [])
  return failures.length > 0 ? failures.join(' ') : undefined
}

/** A share that was plugged out, or not plugged in after all, is served no more. */
export async function endShare(machine: Machine, alias: string): Promise<void> {
  const shares = sharesOf.get(machine)
  const share = shares?.get(alias)
  if (!share) return
  shares?.delete(alias)
  machine.companions.delete(share.end)
  await share.end()
}

/** Finds what serves machines that run; that of others, which nobody talks to, is ended. */
export async function adoptShares(context: Context, machines: ReadonlyMap<string, Machine>): Promise<void> {
  for (const guest of await adoptGuests(context.paths.shares, context.owner)) {
    const uuid = basename(guest.directory).slice(0, 36)
    const alias = basename(guest.directory).slice(37)
    const machine = machines.get(uuid)
    const one = machine && servedShares(machine).find((served) => served.alias === alias)
    const share = shareOf(guest, alias, one?.target ?? alias)
    if (machine && one) keepShare(context, machine, share)
    else await share.end()
  }
  for (const machine of machines.values()) noteLost(machine)
}

/** Those that a machine has or, while one is plugged in, may have. */
function servedShares({ details }: Machine): Filesystem[] {
  const { definition, plugging } = details
  return (plugging?.definition ?? definition).devices.filesystems.filter(isServedHere)
}

/** What ended while nobody looked. */
function noteLost(machine: Machine): void {
  const shares = sharesOf.get(machine) ?? new Map()
  for (const { alias = '', target } of machine.details.definition.devices.filesystems.filter(isServedHere))
    if (!shares.has(alias))
      shares.set(alias, { target, failure: lostMessage(target, ''), end: async () => {} })
  if (shares.size > 0) sharesOf.set(machine, shares)
}
