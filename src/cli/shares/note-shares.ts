import type { Context } from '../context.ts'
import { mountCommand, type ShareSpec } from './share-spec.ts'

interface Shared {
  readonly driver: 'virtiofs' | '9p'
  readonly why?: string
}

/** Says how folders are shared, and how the guest gets at them. */
export function noteShares({ output }: Context, shares: readonly ShareSpec[], { driver, why }: Shared): void {
  const { dim, cyan } = output.noteColours
  if (shares.length > 0 && why !== undefined) output.note(dim(`note: shared by 9p, since ${why}`))
  for (const spec of shares)
    output.note(
      `  ${dim(`${spec.source} by ${driver}${spec.readonly ? ', read-only' : ''}; in the guest:`)} ${cyan(mountCommand(spec, driver))}`,
    )
}
