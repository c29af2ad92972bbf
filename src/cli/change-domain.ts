/** One change of one domain, and the line that says so. */
import type { CompleteConnection } from '../driver/index.ts'
import type { DevicesInput, DomainDefinition, Progress } from '../model/index.ts'
import { type Affect, type AffectFlags, affectedDefinition, affectWords, readAffect } from './affect.ts'
import type { Context } from './context.ts'
import { withProgress } from './progress.ts'
import { safeText } from './text-width.ts'

export interface ChangeCall {
  readonly connection: CompleteConnection
  readonly domain: string
  /** What every operation is called with, and what the change is of. */
  readonly call: Affect & { readonly signal: AbortSignal; readonly progress: (progress: Progress) => void }
  /** The definition that is changed. */
  definition(): Promise<DomainDefinition>
}

export interface ChangeVerb {
  /** 'Attaching vdb to' */
  readonly doing: string
  readonly flags: AffectFlags
  /** Does it; resolves to what then is so: 'has vdb'. */
  readonly run: (call: ChangeCall) => Promise<string>
}

/** Makes the change; with `--json` prints the domain as it is then. */
export async function changeDomain(context: Context, domain: string, verb: ChangeVerb): Promise<void> {
  const { output, signal } = context
  await context.connected(async (connection) => {
    const affect = await readAffect(connection, domain, verb.flags)
    const definition = () => affectedDefinition(connection, domain, affect)
    const done = await withProgress(output, `${verb.doing} ${domain}`, signal, (call) =>
      verb.run({ connection, domain, call: { ...call, ...affect }, definition }),
    )
    output.note(
      `${output.noteColours.green('✓')} ${safeText(domain)} ${safeText(done)}${affectWords(affect)}`,
    )
    if (output.json) output.print(await connection.domains.get(domain), () => '')
  })
}

/** The operations on single devices, by what they do. */
export const deviceVerbs = {
  attachDevice: { doing: 'Attaching a device to', done: 'has' },
  detachDevice: { doing: 'Detaching a device from', done: 'no longer has' },
  updateDevice: { doing: 'Changing a device of', done: 'has the changed' },
} as const

export type DeviceVerb = keyof typeof deviceVerbs

/** How people call the device of a description. */
export function nameDevice(devices: DevicesInput): string {
  for (const value of Object.values(devices).flat())
    if (typeof value === 'object' && value !== null) {
      const { target, mac, alias, name } = value as Record<string, unknown>
      const word = target ?? mac ?? alias ?? name
      if (typeof word === 'string') return word
    }
  return 'the device'
}
