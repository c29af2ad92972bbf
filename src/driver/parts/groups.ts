/** Security groups of guests on the networks of the host. */
import { AllowInGroup, type GroupRule, SecurityGroup, schema as s } from '../../model/index.ts'
import type { CallOptions } from '../connection.ts'
import type { PartTable } from '../operation.ts'

export interface AllowOptions extends CallOptions {
  readonly direction?: GroupRule['direction']
  readonly proto?: GroupRule['proto']
  readonly start?: number
  readonly end?: number
  readonly peer?: string
}
export interface MemberOptions extends CallOptions {
  readonly domain: string
  /** Of the guest; whoever knows the guest fills it in. */
  readonly name?: string
}

/**
 * Groups, each by its name. What guests of a group are sent is dropped but for what one of their groups lets in, and
 * answers; what they send goes out, or only what their groups say once one of them says anything of it.
 */
export interface Groups {
  /** By name. */
  list(): Promise<SecurityGroup[]>
  get(group: string): Promise<SecurityGroup>
  /** Makes a group that lets nobody in. Fails with `already-exists`. */
  create?(group: string, options?: CallOptions): Promise<SecurityGroup>
  /** Forgets a group; `invalid-state` while guests belong to it or rules of others name it. */
  remove?(group: string, options?: CallOptions): Promise<void>
  /** Lets something pass, at once. */
  allow?(group: string, options?: AllowOptions): Promise<SecurityGroup>
  /** Takes a rule back. */
  revoke?(group: string, options: { readonly rule: string } & CallOptions): Promise<SecurityGroup>
  /** A guest belongs to it from now on, on all of its cards that are on networks. */
  join?(group: string, options: MemberOptions): Promise<SecurityGroup>
  leave?(group: string, options: MemberOptions): Promise<SecurityGroup>
}

const member = s.object('GroupMembership', 'Who', {
  domain: s.string('uuid or name of the guest', { maxLength: 255 }),
})

export const groupOperations = {
  list: { access: 'read', doc: 'All security groups, by name.', result: s.array('groups', SecurityGroup) },
  get: { access: 'read', doc: 'A security group.', key: 'group', result: SecurityGroup },
  create: {
    access: 'admin',
    doc: 'Makes a security group that lets nobody in.',
    key: 'group',
    result: SecurityGroup,
  },
  remove: { access: 'admin', doc: 'Forgets a security group.', key: 'group' },
  allow: {
    access: 'admin',
    doc: 'Lets something pass to guests of a group, or from them.',
    key: 'group',
    options: AllowInGroup,
    result: SecurityGroup,
  },
  revoke: {
    access: 'admin',
    doc: 'Takes a rule of a group back.',
    key: 'group',
    options: s.object('RevokeInGroup', 'Which', { rule: s.string('id of the rule') }),
    result: SecurityGroup,
  },
  join: {
    access: 'admin',
    doc: 'Has a guest belong to a group.',
    key: 'group',
    refersTo: 'domain',
    options: member,
    result: SecurityGroup,
  },
  leave: {
    access: 'admin',
    doc: 'Has a guest belong to a group no longer.',
    key: 'group',
    refersTo: 'domain',
    options: member,
    result: SecurityGroup,
  },
} as const satisfies PartTable<Groups>
