import { type DomainState, VisorError } from '../../model/index.ts'

const words: Record<DomainState, string> = {
  running: 'running',
  blocked: 'blocked',
  paused: 'paused',
  shutdown: 'shutting down',
  shutoff: 'shut off',
  crashed: 'crashed',
  pmsuspended: 'asleep',
}

/**
 * Fails with `invalid-state` unless the domain is in one of these states. `purpose` ends the sentence 'it
 * must be running to ...': 'be suspended'.
 */
export function requireState(
  { name, state }: { readonly name: string; readonly state: DomainState },
  required: readonly DomainState[],
  purpose: string,
): void {
  if (required.includes(state)) return
  const wanted = required.map((word) => words[word]).join(' or ')
  throw new VisorError(
    'invalid-state',
    `The domain '${name}' is ${words[state]}; it must be ${wanted} to ${purpose}.`,
    { remedy: findRemedy(name, state, required), object: { kind: 'domain', name } },
  )
}

function findRemedy(name: string, state: DomainState, required: readonly DomainState[]): string {
  if (required.includes('shutoff') || state === 'crashed') return `Stop it first: visor destroy ${name}`
  if (state === 'shutoff') return `Start it first: visor start ${name}`
  return state === 'paused'
    ? `Let it go on first: visor resume ${name}`
    : `Suspend it first: visor suspend ${name}`
}
