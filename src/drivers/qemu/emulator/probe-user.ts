/** Programs that are only asked what they can do are run as nobody as well, not as root. */
import { type FileAccess, type FileUser, planAccess, revokeGrants } from '../../../host/index.ts'
import { toVisorError } from '../../../model/index.ts'
import { kvmGroup } from './kvm-group.ts'

/** Below the users of guests: no guest ever has it. */
export const probeUid = 0x6fff_ffff

/** What came of it, and why root had to do it where nobody else could. */
export interface Probed<T> {
  readonly result: T
  readonly asRoot?: string
}

/**
 * Does `work` as a user of its own, who is let at `files` for as long; as root only when that fails, with the
 * reason. Who is not root does it as who they are. Fails as `work` does.
 */
export async function asProbeUser<T>(
  files: readonly FileAccess[],
  work: (user: FileUser | undefined) => Promise<T>,
): Promise<Probed<T>> {
  if (process.getuid?.() !== 0) return { result: await work(undefined) }
  try {
    return { result: await letAt({ uid: probeUid, gid: kvmGroup() ?? probeUid }, files, work) }
  } catch (error) {
    const { code, message } = toVisorError(error)
    if (code === 'cancelled') throw error
    return { result: await work(undefined), asRoot: message }
  }
}

async function letAt<T>(
  user: FileUser,
  files: readonly FileAccess[],
  work: (user: FileUser) => Promise<T>,
): Promise<T> {
  const plan = await planAccess(user, files, { own: true })
  plan.apply()
  try {
    return await work(user)
  } finally {
    // What cannot be taken back is taken for ours the next time: nobody else has this user.
    await revokeGrants(user, plan.grants)
  }
}
