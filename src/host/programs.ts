import { access, constants, stat } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

/** The program in PATH; undefined when there is none. */
export async function findProgram(
  name: string,
  path: string = process.env.PATH ?? '/usr/bin',
): Promise<string | undefined> {
  // QEMU of RHEL and its kin is not in PATH.
  for (const directory of [...path.split(delimiter), '/usr/libexec']) {
    const candidate = join(directory, name)
    try {
      await access(candidate, constants.X_OK)
      if ((await stat(candidate)).isFile()) return candidate
    } catch {
      // Not there.
    }
  }
  return undefined
}
