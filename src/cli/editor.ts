import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { VisorError } from '../model/index.ts'

/** What the user calls an editor: VISUAL, EDITOR, or the first usual one there is. Words are split at spaces. */
export function findEditor(
  env: Readonly<Record<string, string | undefined>> = process.env,
  terminal = Boolean(process.stdin.isTTY && process.stdout.isTTY),
): string[] {
  const named = [env.VISUAL, env.EDITOR].find((value) => value !== undefined && value.trim() !== '')
  if (named !== undefined) return named.trim().split(/\s+/u)
  if (!terminal)
    throw new VisorError('invalid-argument', 'There is no terminal to open an editor on.', {
      remedy: "Name an editor with EDITOR, or use 'visor show --yaml' and 'visor apply'.",
    })
  const usual = ['sensible-editor', 'editor', 'nano', 'vim', 'vi']
  const found = usual.find((program) => isThere(program, env.PATH ?? ''))
  if (found) return [found]
  throw new VisorError('unavailable', 'No editor was found.', {
    remedy: 'Name one: EDITOR=nano visor edit ...',
  })
}

function isThere(program: string, path: string): boolean {
  return path.split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** Opens the file in the user's editor and resolves when it is closed. Ctrl-C is the editor's. */
export async function openEditor(file: string): Promise<void> {
  const [program = '', ...args] = findEditor()
  const ignore = () => {}
  process.on('SIGINT', ignore)
  try {
    const child = spawn(program, [...args, file], { stdio: 'inherit' })
    const { promise, resolve, reject } = Promise.withResolvers<number | null>()
    child.once('error', reject)
    child.once('close', resolve)
    const code = await promise
    if (code !== 0)
      throw new VisorError('failed', `The editor '${program}' ended with exit code ${code}.`, {
        remedy: 'Nothing was changed. Name another editor with EDITOR.',
      })
  } catch (cause) {
    if (cause instanceof VisorError) throw cause
    throw new VisorError('unavailable', `The editor '${program}' could not be started.`, {
      cause,
      remedy: 'Name another one: EDITOR=nano visor edit ...',
    })
  } finally {
    process.off('SIGINT', ignore)
  }
}
