/** Changes of what runs, of what the next start will use, or of both at once. */
import { isDeepStrictEqual } from 'node:util'
import type { AffectOptions } from '../../../driver/index.ts'
import { withUndo } from '../../../host/index.ts'
import { type DomainDefinition, VisorError } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import { completeDefinition } from '../definition/definition.ts'
import type { Machine } from '../machine/machine.ts'
import type { Registry } from '../registry.ts'

/** What a change is of. */
interface Affected {
  /** The machine that is to change; absent when only the definition is. */
  readonly machine: Machine | undefined
  readonly config: boolean
}

/** Of what runs, else of the definition, where neither is asked for. Fails with `invalid-state` when it must run and does not. */
export function affected(registry: Registry, uuid: string, { live, config }: AffectOptions): Affected {
  if (!live && !config) {
    const machine = registry.machine(uuid)
    if (!machine) return { machine: undefined, config: true }
    return { machine: registry.running(uuid, ['running', 'paused']), config: false }
  }
  return {
    machine: live ? registry.running(uuid, ['running', 'paused']) : undefined,
    config: config === true,
  }
}

export interface Change {
  /** Told with the event `changed`. */
  readonly reason: string
  /** The definition with the change made. */
  edit(definition: DomainDefinition): DomainDefinition
  /** Changes the machine and what is recorded of it; leaves both as they were when it fails. */
  apply(machine: Machine): Promise<unknown>
}

/**
 * Makes the change where the options want it, in all of these places or in none. The new definition is checked
 * before anything changes, and kept first: it can be taken back, while a guest may not let go of what it was given.
 */
export async function changeDomain(
  context: Context,
  registry: Registry,
  uuid: string,
  options: AffectOptions,
  { reason, edit, apply }: Change,
): Promise<void> {
  const { machine, config } = affected(registry, uuid, options)
  const next = config
    ? await completeDefinition(edit(structuredClone(registry.definition(uuid))), context)
    : undefined
  await withUndo(
    async (undo) => {
      const before = registry.defined.get(uuid)
      if (next) {
        // Should nobody be there to take it back: see `settleDefinition`.
        if (machine) {
          const live = machine.details.definition
          await machine.record({ changing: { definition: before.definition as typeof live, live } })
          undo.push(() => machine.record({ changing: undefined }))
        }
        await registry.defined.put({ ...before, definition: next })
        undo.push(() =>
          registry.defined.put({ ...registry.defined.get(uuid), definition: before.definition }),
        )
      }
      if (machine) await apply(machine)
      if (machine && next) await machine.record({ changing: undefined }).catch(() => {})
    },
    (error) => context.log.warn({ error: String(error) }, 'A change could not be taken back.'),
  )
  registry.tell(uuid, { type: 'changed', reason })
}

/** Takes back what a daemon before had changed in the definition, where the machine did not come to change. */
export async function settleDefinition(registry: Registry, machine: Machine): Promise<void> {
  const { changing, definition } = machine.details
  if (!changing) return
  const entry = registry.defined.find(definition.uuid)
  if (entry && isDeepStrictEqual(definition, changing.live))
    await registry.defined.put({ ...entry, definition: changing.definition })
  await machine.record({ changing: undefined })
}

/** For what a running machine cannot change. */
export function onlyInDefinition(registry: Registry, uuid: string, what: string): VisorError {
  const { name } = registry.definition(uuid)
  return new VisorError('invalid-state', `${what} of domain '${name}' cannot be changed while it runs.`, {
    object: { kind: 'domain', name },
    remedy: 'Change it for the next start only (config).',
  })
}
