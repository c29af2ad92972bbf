/**
 * Access control lists of files, as the kernel keeps them: who may do what, and lists with one user more or
 * less. Pure. Sources: acl(5), linux/posix_acl_xattr.h, and posix_acl_permission in the kernel for the order in
 * which entries are looked at.
 */

/** Rights as in a mode: read 4, write 2, execute or enter 1. */
export type Rights = number

export interface AclEntry {
  readonly tag: number
  readonly rights: Rights
  /** Of a user or group that is named; else {@link unnamed}. */
  readonly id: number
}
export type Acl = readonly AclEntry[]

/** What decides over access to a file beside its list. */
export interface FileOwner {
  readonly uid: number
  readonly gid: number
  readonly mode: number
}

export interface FileUser {
  readonly uid: number
  readonly gid: number
  /** Further groups; a guest has none. */
  readonly groups?: readonly number[]
}

/** The attribute that the list of a file stands in. */
export const aclAttribute = 'system.posix_acl_access'

const tags = { owner: 0x01, user: 0x02, group: 0x04, namedGroup: 0x08, mask: 0x10, other: 0x20 } as const
const unnamed = 0xffffffff
const version = 2
const headBytes = 4
const entryBytes = 8

/** Reads the value of {@link aclAttribute}; undefined for one that is none. */
export function parseAcl(bytes: Buffer): Acl | undefined {
  if (bytes.length < headBytes || (bytes.length - headBytes) % entryBytes !== 0) return undefined
  if (bytes.readUInt32LE(0) !== version) return undefined
  return Array.from({ length: (bytes.length - headBytes) / entryBytes }, (_, index) => {
    const at = headBytes + index * entryBytes
    return { tag: bytes.readUInt16LE(at), rights: bytes.readUInt16LE(at + 2), id: bytes.readUInt32LE(at + 4) }
  })
}

/** The value of {@link aclAttribute} for a list. */
export function formatAcl(acl: Acl): Buffer {
  const bytes = Buffer.alloc(headBytes + acl.length * entryBytes)
  bytes.writeUInt32LE(version, 0)
  acl.forEach(({ tag, rights, id }, index) => {
    const at = headBytes + index * entryBytes
    bytes.writeUInt16LE(tag, at)
    bytes.writeUInt16LE(rights, at + 2)
    bytes.writeUInt32LE(id, at + 4)
  })
  return bytes
}

/** The list that says the same as a mode alone. */
export function aclOfMode(mode: number): Acl {
  return [
    { tag: tags.owner, rights: (mode >> 6) & 7, id: unnamed },
    { tag: tags.group, rights: (mode >> 3) & 7, id: unnamed },
    { tag: tags.other, rights: mode & 7, id: unnamed },
  ]
}

/** All of `wanted` that the kernel would refuse to a user who is not root; 0 when nothing. */
export function refusedRights(file: FileOwner, acl: Acl | undefined, user: FileUser, wanted: Rights): Rights {
  if (user.uid === file.uid) return wanted & ~(file.mode >> 6)
  const list = acl ?? aclOfMode(file.mode)
  const mask = rightsOf(list, tags.mask) ?? 7
  const named = rightsOf(list, tags.user, user.uid)
  if (named !== undefined) return wanted & ~(named & mask)
  const groups = new Set([user.gid, ...(user.groups ?? [])])
  const ofGroups = list.filter(
    ({ tag, id }) =>
      (tag === tags.group && groups.has(file.gid)) || (tag === tags.namedGroup && groups.has(id)),
  )
  if (ofGroups.length === 0) return wanted & ~(rightsOf(list, tags.other) ?? 0)
  // One of the groups must allow all of it; what they allow together does not count.
  const refused = ofGroups.map(({ rights }) => wanted & ~(rights & mask))
  return refused.includes(0) ? 0 : (refused[0] ?? wanted)
}

/** The rights of the entry for a user, before the mask; undefined when there is none. */
export function rightsOfUser(acl: Acl | undefined, uid: number): Rights | undefined {
  return acl && rightsOf(acl, tags.user, uid)
}

/**
 * The list with exactly these rights for a user. Nobody else gains: rights that the mask withheld from others
 * are taken out of their entries where the mask must grow.
 */
export function withUser(acl: Acl, uid: number, rights: Rights): Acl {
  const before = rightsOf(acl, tags.mask)
  const groupRights = rightsOf(acl, tags.group) ?? 0
  const mask = (before ?? groupRights) | rights
  const grows = before !== undefined && mask !== before
  const others = withoutEntry(acl, uid).filter(({ tag }) => tag !== tags.mask)
  const narrowed = others.map((entry) =>
    grows && isMasked(entry) ? { ...entry, rights: entry.rights & before } : entry,
  )
  return sort([
    ...narrowed,
    { tag: tags.user, rights, id: uid },
    { tag: tags.mask, rights: mask, id: unnamed },
  ])
}

/** The list without a user; what is left of a list without names is what a mode says. */
export function withoutUser(acl: Acl, uid: number): Acl {
  const rest = withoutEntry(acl, uid)
  const masked = rest.filter((entry) => entry.tag !== tags.group && isMasked(entry))
  if (masked.length > 0) {
    const needed = rest.filter(isMasked).reduce((all, { rights }) => all | rights, 0)
    return rest.map((entry) =>
      entry.tag === tags.mask ? { ...entry, rights: entry.rights & needed } : entry,
    )
  }
  const mask = rightsOf(rest, tags.mask) ?? 7
  return rest
    .filter(({ tag }) => tag !== tags.mask)
    .map((entry) => (entry.tag === tags.group ? { ...entry, rights: entry.rights & mask } : entry))
}

function withoutEntry(acl: Acl, uid: number): AclEntry[] {
  return acl.filter(({ tag, id }) => tag !== tags.user || id !== uid)
}

/** Entries whose rights are held down by the mask. */
function isMasked({ tag }: AclEntry): boolean {
  return tag === tags.user || tag === tags.group || tag === tags.namedGroup
}

function rightsOf(acl: Acl, tag: number, id = unnamed): Rights | undefined {
  return acl.find((entry) => entry.tag === tag && (id === unnamed || entry.id === id))?.rights
}

/** The kernel takes them in this order only. */
function sort(acl: readonly AclEntry[]): Acl {
  return [...acl].sort((a, b) => a.tag - b.tag || a.id - b.id)
}
