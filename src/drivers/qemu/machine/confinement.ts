/**
 * Who guests run as. As root, visor gives each running guest a user of its own, which is nobody else and has no
 * entry in /etc/passwd: what breaks out of a guest has that guest's files and nothing more.
 */
import { createHash } from 'node:crypto'
import type { GuestUserOptions } from '../../../driver/index.ts'
import { findUser, type GuestUser } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import { kvmGroup } from '../emulator/kvm-group.ts'
import { probeUid } from '../emulator/probe-user.ts'

export interface Confinement {
  /** The user of a guest while it runs; undefined: who we are. Fails with `unavailable` when none is left. */
  claim(uuid: string): GuestUser | undefined
  /** A guest that runs already has this one. */
  note(uuid: string, user: GuestUser | undefined): void
  /** The guest has ended. */
  release(uuid: string): void
}

/** Numbers that systemd, distributions and directories leave alone (systemd's UIDS-GIDS): 0x70000000 and on. */
const defaultRange = { first: 0x7000_0000, count: 0x0fff_0000 } as const

/**
 * Fails with `invalid-argument` for a user there is not. Only root can give guests another user; for others
 * `options` mean nothing.
 */
export function openConfinement(
  { guestUser, guestUids = defaultRange }: GuestUserOptions,
  ownUid: number = process.getuid?.() ?? 0,
): Confinement {
  if (ownUid !== 0) return unconfined
  if (guestUser !== undefined) return fixedUser(guestUser)
  const claimed = new Map<number, string>()
  const { first, count } = guestUids
  return {
    claim(uuid) {
      // From the uuid, so that a guest finds the files of its own again that it had the last time.
      const start = createHash('sha256').update(uuid).digest().readUInt32BE(0) % count
      for (let tried = 0; tried < Math.min(count, claimed.size + 2); tried++) {
        const uid = first + ((start + tried) % count)
        if (uid === probeUid) continue
        const holder = claimed.get(uid)
        if (holder !== undefined && holder !== uuid) continue
        claimed.set(uid, uuid)
        return { uid, gid: kvmGroup() ?? uid, own: true }
      }
      throw new VisorError('unavailable', `All ${count} users for guests are taken.`, {
        remedy: "Give visord more of them: 'guestUids' in its configuration.",
      })
    },
    note(uuid, user) {
      if (user?.own) claimed.set(user.uid, uuid)
    },
    release(uuid) {
      for (const [uid, holder] of claimed) if (holder === uuid) claimed.delete(uid)
    },
  }
}

const unconfined: Confinement = { claim: () => undefined, note() {}, release() {} }

function fixedUser(name: string): Confinement {
  const user = findUser(name)
  if (!user)
    throw new VisorError('invalid-argument', `There is no user '${name}' to run guests as.`, {
      path: 'guestUser',
      remedy: "Correct 'guestUser' in the configuration of visord, or leave it out.",
    })
  if (user.uid === 0) return unconfined
  return { ...unconfined, claim: () => ({ ...user, own: false }) }
}
