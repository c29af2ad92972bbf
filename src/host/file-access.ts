/**
 * Lets an unprivileged user at exactly the files it needs: looks, as that user, at every folder on the way, and
 * where one would refuse, gives that user an entry in its access control list (acl(5)) until it is taken back.
 *
 * Every entry is known before it is made, so that its owner can record it first. Paths are looked at at once,
 * without waiting in between: what was found still holds when it is changed.
 */
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  type Stats,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { VisorError } from '../model/index.ts'
import { errorNumber } from './files.ts'
import {
  type Acl,
  aclAttribute,
  aclOfMode,
  type FileUser,
  formatAcl,
  parseAcl,
  type Rights,
  refusedRights,
  rightsOfUser,
  withoutUser,
  withUser,
} from './posix-acl.ts'
import { type Calls, loadCalls } from './syscall.ts'

/** A file that somebody needs. */
export interface FileAccess {
  /** Absolute. Links are followed. */
  readonly path: string
  /** Write too, not only read. */
  readonly write?: boolean
  /** A folder in which files are made and removed. */
  readonly folder?: boolean
  /** A program. */
  readonly execute?: boolean
  /** What it is, for messages: `disk image`. */
  readonly what?: string
}

/** An entry made, or about to be made, for a user in the list of a file. */
export interface Grant {
  readonly path: string
  /** Rights of the entry for this user that was there before, to be put back; 0 when there was none. */
  readonly before: Rights
}

/** What is needed of one file or folder on the way. */
interface Step {
  readonly path: string
  readonly stats: Stats
  readonly need: Rights
  readonly file: FileAccess
  /** Somebody other than root who led here by a link. */
  readonly ledBy: { readonly path: string; readonly uid: number } | undefined
}

interface Change extends Step {
  readonly grant: Grant
  /** What the user may by its entry now; undefined when that is enough. */
  readonly less: Rights | undefined
  readonly acl: Acl
}

export interface AccessPlan {
  /** To be recorded before {@link AccessPlan.apply}. */
  readonly grants: readonly Grant[]
  /** Those that give more than there was, with what there was. */
  readonly widened: readonly Grant[]
  /** Makes the entries; takes back what it made when one fails. Those of `known` paths are held already. */
  apply(known?: ReadonlySet<string>): void
}

export interface PlanOptions {
  /** The user is this guest's alone: an entry for it that is there is a leftover of it, and ours. */
  readonly own?: boolean
}

const [read, write, enter] = [4, 2, 1]
const O_PATH = 0o10000000
const O_NOFOLLOW = 0o400000
const mostLinks = 40
/** Who holds an entry, where several guests share a user. */
const holders = new Map<string, { count: number; readonly before: Rights }>()

/**
 * What it takes to let `user` at `files`; changes nothing. Fails with `not-found` for a file that is missing,
 * and `denied`, naming the component that would refuse, where nothing can be done about it.
 */
export async function planAccess(
  user: FileUser,
  files: readonly FileAccess[],
  { own = false }: PlanOptions = {},
): Promise<AccessPlan> {
  const calls = await loadCalls()
  const changes: Change[] = []
  for (const step of stepsOf(files)) {
    const acl = readAcl(calls, step.path)
    const there = rightsOfUser(acl, user.uid)
    const key = holderKey(user, step.path)
    const refused = refusedRights(step.stats, acl, user, step.need)
    const ours = there !== undefined && (own || holders.has(key))
    if (refused === 0 && !ours) continue
    if (refused !== 0) checkMayGrant(step, user, calls)
    const before = ours ? (holders.get(key)?.before ?? 0) : (there ?? 0)
    const less = refused === 0 ? undefined : (there ?? 0)
    changes.push({
      ...step,
      acl: acl ?? aclOfMode(step.stats.mode),
      grant: { path: step.path, before },
      less,
    })
  }
  return {
    grants: changes.map(({ grant }) => grant),
    widened: changes.flatMap(({ path, less }) => (less === undefined ? [] : { path, before: less })),
    apply: (known) => applyChanges(calls, user, changes, known),
  }
}

/** Says that these entries are held, as found in the record of a guest that runs on. */
export function holdGrants(user: FileUser, grants: readonly Grant[]): void {
  for (const { path, before } of grants) {
    const key = holderKey(user, path)
    const there = holders.get(key)
    if (there) there.count++
    else holders.set(key, { count: 1, before })
  }
}

/** The guest that has these entries goes on, but is nobody's business here any more. */
export function forgetGrants(user: FileUser, grants: readonly Grant[]): void {
  for (const { path } of grants) letGo(user, path)
}

/**
 * Takes entries back, last first; those that another guest of the same user still holds stay. Files that are
 * gone are passed over. Resolves with what could not be done.
 */
export async function revokeGrants(
  user: FileUser,
  grants: readonly Grant[],
  { held = true }: { readonly held?: boolean } = {},
): Promise<Error[]> {
  if (grants.length === 0) return []
  const calls = await loadCalls()
  const failed: Error[] = []
  for (const grant of [...grants].reverse()) {
    if (held && !letGo(user, grant.path)) continue
    if (!held && holders.has(holderKey(user, grant.path))) continue
    try {
      takeBack(calls, user, grant)
    } catch (error) {
      const isGone = ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errorNumber(error) ?? '')
      if (!isGone) failed.push(error instanceof Error ? error : new Error(String(error)))
    }
  }
  return failed
}

/** Takes back what was given beyond these rights; the entries are held on. */
export async function narrowGrants(user: FileUser, grants: readonly Grant[]): Promise<void> {
  if (grants.length === 0) return
  const calls = await loadCalls()
  for (const grant of grants) takeBack(calls, user, grant)
}

function holderKey({ uid }: FileUser, path: string): string {
  return `${uid}:${path}`
}

/** One holder less; true when that was the last. */
function letGo(user: FileUser, path: string): boolean {
  const key = holderKey(user, path)
  const holder = holders.get(key)
  if (holder && --holder.count > 0) return false
  holders.delete(key)
  return true
}

/** All that is needed on the way to the files, each file or folder once. */
function stepsOf(files: readonly FileAccess[]): Iterable<Step> {
  const steps = new Map<string, Step>()
  const known = new Map<string, Stats>()
  for (const file of files)
    for (const step of walk(file, known)) {
      const there = steps.get(step.path)
      steps.set(step.path, there ? { ...there, need: there.need | step.need } : step)
    }
  return steps.values()
}

/** The way to a file, link by link, as the kernel goes it (path_resolution(7)). */
function* walk(file: FileAccess, known: Map<string, Stats>): Generator<Step> {
  const look = (path: string): Stats => {
    const stats = known.get(path) ?? lstat(path, file)
    known.set(path, stats)
    return stats
  }
  let pending = file.path.split('/').filter((name) => name !== '')
  let current = '/'
  let ledBy: Step['ledBy']
  let links = 0
  for (;;) {
    const stats = look(current)
    if (pending.length === 0) return yield { path: current, stats, need: needOf(file), file, ledBy }
    yield { path: current, stats, need: enter, file, ledBy }
    const [name = '', ...rest] = pending
    pending = rest
    if (name === '.') continue
    const next = name === '..' ? dirname(current) : join(current, name)
    const found = look(next)
    if (!found.isSymbolicLink()) {
      current = next
      continue
    }
    if (++links > mostLinks)
      throw new VisorError('failed', `The ${whatOf(file)} '${file.path}' leads through too many links.`)
    if (found.uid !== 0) ledBy = { path: next, uid: found.uid }
    const target = readlinkSync(next)
    pending = [...target.split('/').filter((part) => part !== ''), ...pending]
    if (target.startsWith('/')) current = '/'
  }
}

function needOf({ write: writes, folder, execute }: FileAccess): Rights {
  if (folder) return write | enter
  return read | (writes ? write : 0) | (execute ? enter : 0)
}

function whatOf({ what = 'file' }: FileAccess): string {
  return what
}

function lstat(path: string, file: FileAccess): Stats {
  try {
    return lstatSync(path)
  } catch (cause) {
    const missing = ['ENOENT', 'ENOTDIR'].includes(errorNumber(cause) ?? '')
    if (!missing)
      throw new VisorError(
        'denied',
        `The ${whatOf(file)} '${file.path}' cannot be looked at: ${String(cause)}.`,
        {
          cause,
        },
      )
    throw new VisorError('not-found', `The ${whatOf(file)} '${file.path}' does not exist.`, {
      cause,
      remedy: 'Make it, or correct the path in the definition.',
      object: { kind: 'file', name: file.path },
    })
  }
}

/** Whoever may make links must not lead us to open up the files of others. */
function checkMayGrant(step: Step, user: FileUser, calls: Calls): void {
  const { stats, ledBy, path } = step
  if (ledBy && ledBy.uid !== stats.uid)
    throw refusal(step, user, `The link '${ledBy.path}' of uid ${ledBy.uid} leads to a file of somebody else`)
  if (lacksLists(calls, path)) throw refusal(step, user, 'Its file system has no access control lists')
}

function lacksLists({ lgetxattr, errno }: Calls, path: string): boolean {
  return lgetxattr(path, aclAttribute, Buffer.alloc(0), 0) < 0 && errno() === codes.EOPNOTSUPP
}

const codes = { EPERM: 1, ENODATA: 61, EOPNOTSUPP: 95 } as const

function refusal({ path, stats, need, file }: Step, user: FileUser, why: string | undefined): VisorError {
  const isFolder = stats.isDirectory() && path !== file.path
  const whose = `it belongs to uid ${stats.uid} and gid ${stats.gid}, mode ${(stats.mode & 0o7777).toString(8).padStart(4, '0')}`
  const cannot = isFolder ? 'be entered' : need & write ? 'be written' : 'be read'
  const letters = `${need & read ? 'r' : ''}${need & write ? 'w' : ''}${need & enter ? 'x' : ''}`
  return new VisorError(
    'denied',
    `The ${whatOf(file)} '${file.path}' cannot be opened by uid ${user.uid}: ${
      isFolder ? `the folder '${path}'` : path === file.path ? 'it' : `'${path}'`
    } cannot ${cannot} (${whose}).`,
    {
      remedy: `${why ? `${why}. ` : ''}Allow it yourself ('chmod o+${letters} ${path}', or another owner), or keep the ${whatOf(file)} elsewhere.`,
      object: { kind: 'file', name: path },
    },
  )
}

/** The list of a file; undefined when it has none beyond its mode. */
function readAcl({ lgetxattr }: Calls, path: string): Acl | undefined {
  const size = lgetxattr(path, aclAttribute, listBuffer, listBuffer.length)
  return size > 0 ? parseAcl(listBuffer.subarray(0, size)) : undefined
}

/** Larger is no attribute (XATTR_SIZE_MAX). */
const listBuffer = Buffer.alloc(65_536)

function applyChanges(
  calls: Calls,
  user: FileUser,
  changes: readonly Change[],
  known: ReadonlySet<string> = new Set(),
): void {
  const done: Change[] = []
  try {
    for (const change of changes) {
      addEntry(calls, user, change)
      done.push(change)
    }
  } catch (error) {
    for (const { grant } of done.reverse())
      try {
        const isHeld = known.has(grant.path) || holders.has(holderKey(user, grant.path))
        if (!isHeld) takeBack(calls, user, grant)
      } catch {
        // Recorded; whoever cleans up after this guest tries again.
      }
    throw error
  }
  holdGrants(
    user,
    changes.map(({ grant }) => grant).filter(({ path }) => !known.has(path)),
  )
}

function addEntry(calls: Calls, user: FileUser, change: Change): void {
  const { path, stats, need } = change
  onFile(path, (own, found) => {
    if (found.dev !== stats.dev || found.ino !== stats.ino)
      throw new VisorError('conflict', `'${path}' was replaced while it was looked at.`, {
        remedy: 'Try again.',
      })
    // Read again: another guest may have got an entry since the plan was made.
    const acl = readAclOf(calls, own) ?? aclOfMode(found.mode)
    if (refusedRights(found, acl, user, need) === 0) return
    // The entry of a user comes before all that groups and others may: it must not take away.
    const had = [read, write, enter].filter((right) => refusedRights(found, acl, user, right) === 0)
    const rights = had.reduce((all, right) => all | right, need)
    const error = writeAcl(calls, own, withUser(acl, user.uid, rights))
    if (error !== 0) throw refusal(change, user, `Its access control list cannot be changed (error ${error})`)
  })
}

function takeBack(calls: Calls, user: FileUser, { path, before }: Grant): void {
  onFile(path, (own) => {
    const acl = readAclOf(calls, own)
    if (!acl || rightsOfUser(acl, user.uid) === undefined) return
    const error = writeAcl(
      calls,
      own,
      before === 0 ? withoutUser(acl, user.uid) : withUser(acl, user.uid, before),
    )
    if (error !== 0)
      throw new Error(`The access of uid ${user.uid} to '${path}' cannot be taken back (${error}).`)
  })
}

/** Runs `work` on a path that leads to this very file, whatever is put in its place meanwhile. */
function onFile(path: string, work: (own: string, stats: Stats) => void): void {
  const fd = openSync(path, O_PATH | O_NOFOLLOW)
  try {
    work(`/proc/self/fd/${fd}`, fstatSync(fd))
  } finally {
    closeSync(fd)
  }
}

function readAclOf({ getxattr }: Calls, own: string): Acl | undefined {
  const size = getxattr(own, aclAttribute, listBuffer, listBuffer.length)
  return size > 0 ? parseAcl(listBuffer.subarray(0, size)) : undefined
}

function writeAcl({ setxattr, errno }: Calls, own: string, acl: Acl): number {
  const bytes = formatAcl(acl)
  return setxattr(own, aclAttribute, bytes, bytes.length, 0) === 0 ? 0 : errno() || codes.EPERM
}

/** The user `name` of this host, or of a number; undefined when there is none of that name. Source: passwd(5). */
export function findUser(name: string): FileUser | undefined {
  const number = /^\d+$/u.test(name) ? Number(name) : undefined
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [login, , uid, gid] = line.split(':')
    if (login === name || (number !== undefined && Number(uid) === number))
      return { uid: Number(uid), gid: Number(gid) }
  }
  return number === undefined ? undefined : { uid: number, gid: number }
}

/** The folder on the way to a file that we may not enter; the file itself when it is none of them. */
export function findRefusing(path: string): string {
  const names = path.split('/').slice(1, -1)
  for (let count = 0; count <= names.length; count++) {
    const folder = `/${names.slice(0, count).join('/')}`
    try {
      accessSync(folder, constants.X_OK)
    } catch {
      return folder
    }
  }
  return path
}
