import type { Domain } from '../model/index.ts'
import type { Colours } from './output.ts'

/** The state in the words of a person. */
export function stateWord({ state, saved }: Pick<Domain, 'state' | 'saved'>): string {
  if (state === 'shutoff') return saved ? 'saved' : 'off'
  if (state === 'shutdown') return 'stopping'
  if (state === 'pmsuspended') return 'asleep'
  return state
}

const reasons: Partial<Record<Domain['reason'], string>> = {
  adopted: 'found again by the daemon',
  user: 'by request',
  'io-error': 'a disk failed',
  shutdown: 'the guest powered off',
  destroyed: 'the power was taken away',
}

/** Why it is in its state; empty when that is not known. */
export function reasonWord({ reason, state }: Pick<Domain, 'reason' | 'state'>): string {
  if (reason === 'unknown' || reason === state) return ''
  return reasons[reason] ?? reason
}

/** Colours a word by the state it stands for. */
export function colourState(
  colours: Colours,
  text: string,
  { state, saved }: Pick<Domain, 'state' | 'saved'>,
): string {
  if (state === 'running' || state === 'blocked') return colours.green(text)
  if (state === 'crashed') return colours.red(text)
  if (state === 'shutoff') return saved ? colours.cyan(text) : colours.dim(text)
  return colours.yellow(text)
}
