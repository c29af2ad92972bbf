/** The programs of iproute2. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { VisorError } from '../model/index.ts'
import { errorNumber } from './files.ts'

/** Runs one; fails with `unavailable` when it is not installed, `failed` with what it said. */
export async function runTool(program: 'ip' | 'tc' | 'bridge', args: readonly string[]): Promise<string> {
  const done = promisify(execFile)(program, [...args])
  const { stdout } = await done.catch((cause: Error & { stderr?: string }) => {
    if (errorNumber(cause) === 'ENOENT')
      throw new VisorError(
        'unavailable',
        `The program '${program}', which sets up links, is not installed.`,
        {
          cause,
          remedy: "Install it: 'apt install iproute2' on Debian and Ubuntu, 'dnf install iproute' on Fedora.",
        },
      )
    const said = cause.stderr?.trim().replaceAll('\n', ' ') || cause.message
    throw new VisorError('failed', `A network link could not be set up: ${said.replace(/\.?$/u, '.')}`, {
      cause,
    })
  })
  return stdout
}
