/** Whether a change is of the machine that runs, of its definition for the next start, or of both. */
import type { Command } from 'commander'
import type { CompleteConnection } from '../driver/index.ts'
import { type DomainDefinition, VisorError } from '../model/index.ts'

export interface AffectFlags {
  readonly live?: true
  readonly config?: true
  readonly persistent?: true
  readonly current?: true
}

export interface Affect {
  readonly live?: boolean
  readonly config?: boolean
}

/** The flags of virsh for it. */
export function addAffectFlags(command: Command): Command {
  return command
    .optionsGroup('Of what:')
    .option('--live', 'the machine that runs')
    .option('--config', 'its definition, for the next start; with --live, both')
    .option('--persistent', 'the definition, and the machine if it runs')
    .option('--current', 'the machine if it runs, else the definition; so without any of these')
}

/** Fails with `invalid-argument` for flags that contradict each other. */
export async function readAffect(
  { domains }: CompleteConnection,
  domain: string,
  { live, config, persistent, current }: AffectFlags,
): Promise<Affect> {
  if (current && (live || config || persistent))
    throw new VisorError(
      'invalid-argument',
      '--current cannot stand beside --live, --config or --persistent.',
    )
  if (!persistent) return { ...(live && { live }), ...(config && { config }) }
  const { state } = await domains.get(domain)
  return { config: true, ...((live || state !== 'shutoff') && { live: true }) }
}

/** The definition that is changed, or that of what runs where both are. */
export function affectedDefinition(
  { domains }: CompleteConnection,
  domain: string,
  { live, config }: Affect,
): Promise<DomainDefinition> {
  return domains.describe(domain, { inactive: config === true && !live })
}

/** For the line that says what was done. */
export function affectWords({ live, config }: Affect): string {
  return config && !live ? ' from the next start on' : ''
}
