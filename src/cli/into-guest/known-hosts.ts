import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Domain, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'

/**
 * The file with the host keys of a machine. It goes by the uuid, not by an address, which another machine may have
 * next. The folder is there when it resolves. Fails with `failed` where it cannot be made.
 */
export async function knownHostsOf({ directories }: Context, uuid: string): Promise<string> {
  const folder = join(directories.state, 'known-hosts')
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new VisorError('failed', `The host keys of machines cannot be kept in '${folder}'.`, {
      remedy: 'Give a folder that is yours with --state-dir.',
      cause,
    })
  }
  return join(folder, uuid)
}

/** The next key that the machine has is believed. */
export async function forgetHostKeys(context: Context, uuid: string): Promise<void> {
  await rm(await knownHostsOf(context, uuid), { force: true })
}

export const keyChanged = ({ name }: Pick<Domain, 'name'>): VisorError =>
  new VisorError('conflict', `'${name}' has another host key than before, so nothing was said to it.`, {
    remedy: `If its system was installed anew, take the new key: 'visor ssh --new-key ${name}'. If not, somebody else answers at its address.`,
    object: { kind: 'domain', name },
  })
