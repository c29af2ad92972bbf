/**
 * Guests as processes that outlive the daemon: each in a session and cgroups of its own, with a record from
 * which a later daemon finds it.
 *
 *            record written          spawned, entered cgroups          record written
 *   nothing ----------------> intent -----------------------> starting ---------------> running
 *                               |                                |                        |
 *                               '------ daemon dies here --------'                        | daemon dies here
 *                                               v                                         v
 *                            found by its marker and ended:                       adopted: pid, start time
 *                            nobody was told that it runs
 *
 * The marker is a random number in the environment of the process. It is recorded before the process is
 * there, so there is no moment in which a guest runs that a later daemon would not find.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chownSync, mkdirSync, readFileSync } from 'node:fs'
import { open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createConnection, type Socket } from 'node:net'
import { basename, join } from 'node:path'
import type { Duplex } from 'node:stream'
import { VisorError } from '../model/index.ts'
import { type CgroupHierarchy, cgroupPaths, enterCgroups, removeCgroups, usualHierarchies } from './cgroup.ts'
import {
  applyLimits,
  type CgroupLimits,
  type CgroupSetting,
  changeLimits,
  limitSettings,
  noGroups,
} from './cgroup-limits.ts'
import { cpuGroup, limitThreads, type ThreadGroup } from './cgroup-threads.ts'
import {
  type FileAccess,
  forgetGrants,
  type Grant,
  holdGrants,
  narrowGrants,
  planAccess,
  revokeGrants,
} from './file-access.ts'
import { errorNumber, listDirectory, readJsonFile, writeFileAtomic } from './files.ts'
import { type ProcessLimits, withLimits } from './limits.ts'
import type { FileUser } from './posix-acl.ts'
import { identifyProcess, isRunning, type ProcessIdentity, signalProcess, waitForExit } from './process.ts'
import { peerCredentials } from './syscall.ts'

/** How a process ended. An adopted one is not our child, so its code is not known. */
export interface GuestExit {
  readonly code: number | undefined
  readonly signal: NodeJS.Signals | undefined
}

/** What is kept about a guest while it runs: `record.json` in its directory. */
export interface GuestRecord {
  /** Random; in the environment of the process as VISOR_GUEST. */
  readonly marker: string
  /** Of the host's boot; a record of another boot is about nothing that still runs. */
  readonly boot: string
  readonly phase: 'starting' | 'running'
  /** Whose guest it is, where several share a folder: the state directory of its daemon. */
  readonly owner?: string
  readonly process?: ProcessIdentity
  readonly cgroups: readonly string[]
  /** Who it runs as, where that is not the user of its daemon. */
  readonly user?: GuestUser
  /** What that user was let at; here before it is so. */
  readonly grants?: readonly Grant[]
  /** What the driver needs to go on with it, JSON. */
  readonly details: unknown
}

/** An unprivileged user for a guest. */
export interface GuestUser extends FileUser {
  /** No other guest has it. */
  readonly own: boolean
}

/** A guest that runs, or has just ended. */
export interface GuestProcess {
  readonly directory: string
  readonly identity: ProcessIdentity
  readonly details: unknown
  /** Our ends of the sockets asked for; none for an adopted guest. */
  readonly sockets: readonly Duplex[]
  /** Groups it is in; complete once {@link confirm} has resolved. */
  readonly cgroups: readonly string[]
  /** Who it runs as; undefined when that is who we are. */
  readonly user: GuestUser | undefined
  /** Resolves when the process is gone; never fails. */
  readonly exited: Promise<GuestExit>
  /** Records that it has started: from now on a later daemon adopts it. May be called again with new details. */
  confirm(details: unknown): Promise<void>
  /**
   * Lets its user at more files, until its end or {@link revoke}. Nothing where it runs as who we are. Fails as
   * `planAccess` does; nothing is changed then. Resolves with what takes back what this call alone gave: that is,
   * what nobody else has asked for since.
   */
  grant(files: readonly FileAccess[]): Promise<() => Promise<void>>
  /** Takes back what was granted of exactly these files; folders on the way stay open to it until its end. */
  revoke(paths: readonly string[]): Promise<void>
  /** Holds it to other limits from now on. Fails with `unsupported-config` for what its groups cannot limit. */
  limit(hierarchies: readonly CgroupHierarchy[], limits: CgroupLimits): Promise<void>
  /** Holds some of its threads to less than all of it. Fails with `unsupported-config` as {@link limit} does. */
  limitThreads(hierarchies: readonly CgroupHierarchy[], groups: readonly ThreadGroup[]): Promise<void>
  /** Looks at once whether it is gone, for adopted guests, which are otherwise looked at every second. */
  check(): void
  /** Ends it with SIGKILL; resolves when it is gone. */
  kill(): Promise<GuestExit>
  /** After its end: removes cgroups, record and directory. */
  release(): Promise<void>
  /** Stops watching it; it goes on. Its record is not written any more once this has resolved. */
  forget(): Promise<void>
}

export interface SpawnGuestOptions {
  /** A directory for this guest alone; made here, gone with {@link GuestProcess.release}. */
  readonly directory: string
  /** Name for its cgroups, such as `qemu-UUID`. */
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string | undefined>>
  /** How many socket pairs it gets, from file descriptor 3 on. */
  readonly sockets?: number
  /** Open files it gets after the sockets. */
  readonly files?: readonly number[]
  readonly cgroups: readonly CgroupHierarchy[]
  /** Only an {@link adoptGuests} of the same owner touches it. */
  readonly owner?: string
  /** Who it shall run as; only root can choose. */
  readonly user?: GuestUser | undefined
  /** The files that this user needs; see {@link GuestProcess.grant}. */
  readonly access?: readonly FileAccess[]
  readonly limits?: ProcessLimits
  /** What its control groups hold it to. */
  readonly cgroupLimits?: CgroupLimits | undefined
  readonly details: unknown
}

const recordName = 'record.json'
const killTimeoutMs = 30_000
/** What the guest's program prints to stdout and stderr, in its directory. */
export const guestOutputName = 'output.log'
/** A folder in its directory that belongs to the guest's user: all else there is ours, and safe from it. */
export const guestFolderName = 'io'

/**
 * Starts a process of its own session. Resolves when it is spawned; joining its cgroups goes on meanwhile
 * and is done when `confirm` is. Fails with `unavailable` when the program is missing, `denied` when its user
 * cannot be let at a file, else `failed`; nothing is left then.
 */
export async function spawnGuest(options: SpawnGuestOptions): Promise<GuestProcess> {
  const { directory, name, program, args, sockets = 0, files = [], user } = options
  const marker = randomUUID()
  const groups = chooseGroups(options, `${name}-${marker.slice(0, 8)}`)
  makeDirectories(directory, user)
  let granted: readonly Grant[] = []
  try {
    const plan = user && (await planAccess(user, accessOf(options), user))
    const grants = plan?.grants ?? []
    const record: GuestRecord = {
      marker,
      boot: bootId(),
      phase: 'starting',
      cgroups: groups.paths,
      details: options.details,
      ...(options.owner === undefined ? {} : { owner: options.owner }),
      ...(user ? { user, grants } : {}),
    }
    // Half a record is no harm yet: there is no process before it is whole, and nobody was let at anything.
    const [output] = await Promise.all([
      open(join(directory, guestOutputName), 'a', 0o600),
      writeFile(join(directory, recordName), JSON.stringify(record), { mode: 0o600 }),
    ])
    try {
      if (groups.limits.length > 0) await applyLimits(groups.limits)
      plan?.apply()
      granted = grants
      const env = { ...(options.env ?? process.env), VISOR_GUEST: marker }
      const stdio = [
        'ignore',
        output.fd,
        output.fd,
        ...Array<'pipe'>(sockets).fill('pipe'),
        ...files,
      ] as const
      const child = await withLimits({ coreBytes: 0, ...options.limits }, () =>
        spawn(program, args, {
          detached: true,
          cwd: directory,
          env: env as NodeJS.ProcessEnv,
          stdio: [...stdio],
          // Node drops all further groups with them.
          ...(user ? { uid: user.uid, gid: user.gid } : {}),
        }),
      )
      await spawned(child, program)
      return ownGuest(directory, child, record, { sockets, limits: groups.defaults })
    } finally {
      await output.close()
    }
  } catch (error) {
    if (user) await revokeGrants(user, granted)
    if (groups.limits.length > 0) await removeCgroups(groups.paths)
    await rm(directory, { recursive: true, force: true })
    throw error
  }
}

/** Enough for a guest of any size, and an end to one that makes threads without end. */
const defaultPids = 4096

/** Its groups, what was asked of them, and what they have anyway where they can. */
function chooseGroups({ cgroups, cgroupLimits = {} }: SpawnGuestOptions, name: string) {
  const isLimited = Object.values(cgroupLimits).some((limit) => limit !== undefined)
  const hierarchies = usualHierarchies(cgroups, isLimited)
  const paths = cgroupPaths(hierarchies, name)
  const defaults = paths.length > 0 ? limitSettings(hierarchies, paths, { pids: defaultPids }) : []
  return { paths, limits: limitSettings(hierarchies, paths, cgroupLimits), defaults }
}

/** Its directory, which it can look up things in but not change, and a folder of its own in that. */
function makeDirectories(directory: string, user: GuestUser | undefined): void {
  mkdirSync(directory, { recursive: true, mode: user ? 0o711 : 0o700 })
  const own = join(directory, guestFolderName)
  mkdirSync(own, { mode: 0o700 })
  if (user) chownSync(own, user.uid, user.gid)
}

function accessOf({ directory, program, access = [] }: SpawnGuestOptions): FileAccess[] {
  return [
    { path: join(directory, guestFolderName), folder: true, what: "guest's folder" },
    ...(program.startsWith('/') ? [{ path: program, execute: true, what: 'program' }] : []),
    ...access,
  ]
}

function spawned(child: ChildProcess, program: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (cause) => {
      const missing = errorNumber(cause) === 'ENOENT'
      reject(
        missing
          ? new VisorError('unavailable', `The program '${program}' is not installed.`, { cause })
          : new VisorError('failed', `'${program}' could not be started: ${cause.message}.`, { cause }),
      )
    })
  })
}

function ownGuest(
  directory: string,
  child: ChildProcess,
  record: GuestRecord,
  { sockets, limits }: { readonly sockets: number; readonly limits: readonly CgroupSetting[] },
): GuestProcess {
  const pid = child.pid ?? 0
  // Not reaped before our exit handler runs, so the id is still its own even if it has died by now.
  const identity = identifyProcess(pid) ?? { pid, startTime: '' }
  const exited = new Promise<GuestExit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code: code ?? undefined, signal: signal ?? undefined }))
  })
  child.unref()
  return guestProcess(directory, { ...record, process: identity }, identity, {
    exited,
    sockets: child.stdio.slice(3, 3 + sockets) as Duplex[],
    entering: enterCgroups(record.cgroups, pid, limits),
    check() {},
    unwatch: () => void child.removeAllListeners('exit'),
    // Whoever waits for its end needs the notice of it.
    await: () => child.ref(),
  })
}

function adoptedGuest(directory: string, record: GuestRecord, identity: ProcessIdentity): GuestProcess {
  let settle: (exit: GuestExit) => void = () => {}
  const exited = new Promise<GuestExit>((resolve) => {
    settle = resolve
  })
  const check = () => {
    if (isRunning(identity)) return
    clearInterval(timer)
    settle({ code: undefined, signal: undefined })
  }
  const timer = setInterval(check, 1000).unref()
  if (record.user) holdGrants(record.user, record.grants ?? [])
  return guestProcess(directory, record, identity, {
    exited,
    sockets: [],
    entering: Promise.resolve([...record.cgroups]),
    check,
    unwatch: () => clearInterval(timer),
    await: () => timer.ref(),
  })
}

type Watched = Pick<GuestProcess, 'exited' | 'sockets' | 'check'> & {
  readonly unwatch: () => void
  readonly entering: Promise<string[]>
  /** Keeps this process until the guest has ended. */
  readonly await: () => void
}

function guestProcess(
  directory: string,
  record: GuestRecord,
  identity: ProcessIdentity,
  { exited, sockets, entering, check, unwatch, await: hold }: Watched,
): GuestProcess {
  let current = record
  let written: Promise<void> = Promise.resolve()
  let isOver = false
  /** Groups it has got since it was started. */
  const added: string[] = []
  /** One after another, so that the last one stays. */
  const write = (): Promise<void> => {
    written = written.catch(() => {}).then(() => (isOver ? undefined : writeRecord(directory, current)))
    return written
  }
  const { user } = record
  /** All hierarchies, with the group that it has there or could have. */
  const groupsIn = async (hierarchies: readonly CgroupHierarchy[]) => {
    await entering
    const [known] = current.cgroups
    if (known === undefined) throw noGroups()
    const all = usualHierarchies(hierarchies, true)
    return { all, paths: cgroupPaths(all, basename(known)) }
  }
  /** Records groups before they are made; gives those that are new. */
  const noteGroups = async (paths: readonly string[]) => {
    const more = [...new Set(paths)].filter((path) => !current.cgroups.includes(path))
    added.push(...more)
    current = { ...current, cgroups: [...current.cgroups, ...more] }
    if (more.length > 0) await write()
    return more
  }
  /** Who asked last for what is granted. */
  const lastAsked = new Map<string, object>()
  const revoke = async (gone: readonly Grant[]) => {
    if (!user || gone.length === 0) return
    const [failure] = await revokeGrants(user, gone)
    if (failure) throw failure
    const paths = gone.map(({ path }) => path)
    current = { ...current, grants: (current.grants ?? []).filter(({ path }) => !paths.includes(path)) }
    await write()
  }
  return {
    directory,
    user,
    identity,
    exited,
    sockets,
    check,
    async forget() {
      unwatch()
      // Who finds it next may remove the folder at once.
      if (user && !isOver) forgetGrants(user, current.grants ?? [])
      isOver = true
      await written.catch(() => {})
    },
    get details() {
      return current.details
    },
    get cgroups() {
      return current.cgroups
    },
    async confirm(details) {
      const entered = await entering
      const cgroups = [...new Set([...entered, ...added])]
      current = { ...current, phase: 'running', cgroups, details }
      await write()
    },
    async grant(files) {
      if (!user) return async () => {}
      const plan = await planAccess(user, files, user)
      const known = new Set(current.grants?.map(({ path }) => path))
      const more = plan.grants.filter(({ path }) => !known.has(path))
      current = { ...current, grants: [...(current.grants ?? []), ...more] }
      if (more.length > 0) await write()
      try {
        plan.apply(known)
      } catch (error) {
        current = { ...current, grants: current.grants?.filter((grant) => !more.includes(grant)) ?? [] }
        await write()
        throw error
      }
      const turn = {}
      for (const { path } of plan.grants) lastAsked.set(path, turn)
      return async () => {
        const mine = ({ path }: Grant) => lastAsked.get(path) === turn
        if (user.own)
          await narrowGrants(
            user,
            plan.widened.filter((one) => known.has(one.path) && mine(one)),
          )
        await revoke(more.filter(mine))
      }
    },
    revoke: (paths) => revoke((current.grants ?? []).filter(({ path }) => paths.includes(path))),
    async limit(hierarchies, limits) {
      const { all, paths } = await groupsIn(hierarchies)
      const settings = limitSettings(all, paths, limits)
      const more = await noteGroups(settings.map(({ path }) => path))
      await changeLimits(settings)
      await enterCgroups(more, identity.pid)
    },
    async limitThreads(hierarchies, groups) {
      const { all, paths } = await groupsIn(hierarchies)
      const own = cpuGroup(all, paths)
      await enterCgroups(await noteGroups([own.path]), identity.pid)
      await limitThreads(own, groups)
    },
    async kill() {
      hold()
      signalProcess(identity, 'SIGKILL')
      if (!(await Promise.race([exited.then(() => true), waitForExit(identity, killTimeoutMs)])))
        throw new VisorError(
          'timeout',
          `The process ${identity.pid} did not end within ${killTimeoutMs / 1000} s of being killed.`,
          { remedy: 'The kernel holds it, often for a device that does not answer; see the kernel log.' },
        )
      check()
      return exited
    },
    async release() {
      // A record that is being written would be left behind in its folder.
      isOver = true
      await Promise.allSettled([entering, written])
      await removeCgroups([...new Set([...record.cgroups, ...current.cgroups])])
      const failed = user ? await revokeGrants(user, current.grants ?? []) : []
      await rm(directory, { recursive: true, force: true })
      if (failed[0]) throw failed[0]
    },
  }
}

function writeRecord(directory: string, record: GuestRecord): Promise<void> {
  return writeFileAtomic(join(directory, recordName), JSON.stringify(record), { durable: false })
}

/**
 * Connects a socket that a guest listens on, in a folder of its own: only when this very process is at the
 * other end, not one that the guest has put a link to in its place. Fails with a plain error.
 */
export async function connectGuestSocket(path: string, { pid }: ProcessIdentity): Promise<Socket> {
  const socket = createConnection(path)
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  const peer = await peerCredentials(socket)
  if (peer?.pid === pid) return socket
  socket.destroy()
  throw new Error(`another process than ${pid} listens on '${path}'`)
}

/**
 * Finds the guests below `parent`, one directory each. Those that run are given back; what is left of those
 * that have ended, or that nobody confirmed, is ended and removed, and told to `gone`. Those of another `owner` are left alone.
 */
export async function adoptGuests(
  parent: string,
  owner?: string,
  gone: (record: GuestRecord) => void = () => {},
): Promise<GuestProcess[]> {
  const found: GuestProcess[] = []
  const unfinished: { directory: string; record: GuestRecord | undefined }[] = []
  for (const name of await listDirectory(parent)) {
    const directory = join(parent, name)
    const record = parseRecord(await readJsonFile(join(directory, recordName)))
    if (owner !== undefined && record?.owner !== undefined && record.owner !== owner) continue
    const alive = record?.process && record.boot === bootId() && isRunning(record.process)
    if (record?.process && alive && record.phase === 'running')
      found.push(adoptedGuest(directory, record, record.process))
    else unfinished.push({ directory, record })
  }
  if (unfinished.length > 0) await endUnfinished(unfinished)
  for (const { record } of unfinished) if (record) gone(record)
  return found
}

async function endUnfinished(
  unfinished: readonly { directory: string; record: GuestRecord | undefined }[],
): Promise<void> {
  const marked = await findMarkedProcesses(
    new Set(unfinished.flatMap(({ record }) => (record ? [record.marker] : []))),
  )
  for (const identity of marked) {
    signalProcess(identity, 'SIGKILL')
    await waitForExit(identity, 10_000)
  }
  for (const { directory, record } of unfinished) {
    if (record) await removeCgroups(record.cgroups)
    if (record?.user) await revokeGrants(record.user, record.grants ?? [], { held: false })
    // A process that was killed may still be on its way out of a system call that makes a file.
    await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
  }
}

/** Processes whose environment has one of these markers. */
async function findMarkedProcesses(markers: ReadonlySet<string>): Promise<ProcessIdentity[]> {
  if (markers.size === 0) return []
  const found: ProcessIdentity[] = []
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/u.test(name)) continue
    // Processes of other users cannot be read, and are none of ours.
    const environment = await readFile(`/proc/${name}/environ`, 'latin1').catch(() => '')
    const marker = /(?:^|\0)VISOR_GUEST=([^\0]*)/u.exec(environment)?.[1]
    const identity = marker !== undefined && markers.has(marker) ? identifyProcess(Number(name)) : undefined
    if (identity) found.push(identity)
  }
  return found
}

function parseRecord(value: unknown): GuestRecord | undefined {
  const record = value as Partial<GuestRecord> | undefined
  const sound =
    typeof record?.marker === 'string' && typeof record.boot === 'string' && Array.isArray(record.cgroups)
  return sound ? (record as GuestRecord) : undefined
}

let boot: string | undefined
/** Which boot of this host it is (random(4)). */
export function bootId(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  return boot
}
