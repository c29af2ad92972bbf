/** Names of machines, processors and devices that no QEMU has: told with the one that was probably meant. */
import { suggest, type VisorError } from '../../../model/index.ts'
import type { Emulator } from '../emulator/emulator.ts'
import { unsupported } from './unsupported.ts'

export interface UnknownName {
  /** What is said of it, such as that QEMU has no such machine. */
  readonly what: string
  readonly name: string
  readonly known: readonly string[]
  /** The command that lists what there is; all are named without. */
  readonly list?: string
}

/** The error for a name that is not known where `path` is. */
export function unknownName(path: string, { what, name, known, list }: UnknownName): VisorError {
  const meant = suggest(name, known)
  const hint = meant === undefined ? '' : ` (did you mean '${meant}'?)`
  const use = meant === undefined ? '' : `Use '${meant}', or another. `
  const all = list === undefined ? `There are: ${known.join(', ')}.` : `'${list}' lists those there are.`
  return unsupported(path, `${what}${hint}`, `${use}${all}`)
}

/** The error for a device that this QEMU was built without, or is too old for. */
export const noDevice = (
  path: string,
  name: string,
  emulator: Pick<Emulator, 'path' | 'version'>,
): VisorError =>
  unsupported(
    path,
    `${emulator.path} ${emulator.version} has no device '${name}'`,
    `Use another model, or a QEMU that has it: '${emulator.path} -device help' lists those there are.`,
  )
