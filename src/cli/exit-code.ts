import type { ErrorCode } from '../model/index.ts'

/** What the exit code of `visor` says, by kind of error. A part of the interface: never renumbered. */
export const exitCodes: Readonly<Record<ErrorCode, number>> = {
  failed: 1,
  internal: 1,
  'invalid-argument': 2,
  'invalid-definition': 2,
  'not-found': 3,
  'already-exists': 4,
  'invalid-state': 4,
  conflict: 4,
  busy: 4,
  unsupported: 5,
  'unsupported-config': 5,
  unauthenticated: 6,
  denied: 6,
  unavailable: 7,
  timeout: 8,
  cancelled: 130,
}

/** What each exit code means, for `visor help exit-codes`. */
export const exitCodeMeanings: readonly (readonly [code: number, meaning: string])[] = [
  [0, 'It worked.'],
  [1, 'It failed: the hypervisor, the host or visor itself could not do it.'],
  [2, 'The command line or a definition is wrong.'],
  [3, 'There is no such domain, image or job.'],
  [4, 'Not now: it exists already, is busy, was changed meanwhile, or is in the wrong state.'],
  [5, 'This driver cannot do it, or not with this setting.'],
  [6, 'Not logged in, or not allowed.'],
  [7, 'Nobody there: no visord at the address, or the hypervisor is missing.'],
  [8, 'It did not happen in time.'],
  [130, 'Cancelled, with Ctrl-C or by somebody else.'],
]
