import type { CompleteConnection } from '../driver/index.ts'
import type { Domain, Progress } from '../model/index.ts'
import { type Context, checkCancelled } from './context.ts'
import { withProgress } from './progress.ts'
import { reportError } from './report-error.ts'
import { safeText } from './text-width.ts'

export interface DomainCall {
  readonly connection: CompleteConnection
  readonly name: string
  /** What the operation is called with, beside its own options. */
  readonly call: { readonly signal: AbortSignal; readonly progress: (progress: Progress) => void }
}

export interface DomainVerb {
  /** 'Starting' */
  readonly doing: string
  /** 'started': 'web started' */
  readonly done: string
  /** Does it; a text that it resolves to stands for `done`. */
  readonly run: (call: DomainCall) => Promise<unknown>
  /** The domain is gone afterwards, so that it cannot be read again. */
  readonly gone?: boolean
}

/**
 * Does the same to each of some domains, one after the other. A failure is reported and the rest goes on;
 * the exit code is that of the first failure. With `--json` prints the domains as they are afterwards.
 */
export async function eachDomain(
  context: Context,
  names: readonly string[],
  verb: DomainVerb,
): Promise<void> {
  const { output, signal } = context
  await context.connected(async (connection) => {
    const after: Domain[] = []
    for (const name of new Set(names)) {
      checkCancelled(signal)
      try {
        const doing = `${verb.doing} ${name}`
        const said = await withProgress(output, doing, signal, (call) => verb.run({ connection, name, call }))
        output.note(
          `${output.noteColours.green('✓')} ${safeText(name)} ${typeof said === 'string' ? said : verb.done}`,
        )
        if (output.json && !verb.gone) after.push(await connection.domains.get(name))
      } catch (error) {
        context.failWith(reportError(error, output))
      }
    }
    if (output.json) output.print(after, () => '')
  })
}
