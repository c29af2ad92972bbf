import { type CompleteConnection, entityTag } from '../driver/index.ts'
import { type Domain, type DomainDefinition, formatDefinition, toVisorError } from '../model/index.ts'
import { type DefinitionDocument, withDocument } from './documents.ts'
import { keepChosen } from './keep-chosen.ts'
import { type DiffLine, diffLines } from './line-diff.ts'

/** What applying one document would do. */
export interface PlannedChange {
  readonly document: DefinitionDocument
  readonly action: 'create' | 'change' | 'none'
  /** As it is to be defined. */
  readonly definition: DomainDefinition
  readonly diff: readonly DiffLine[]
  /** The definition as it was when the plan was made. */
  readonly current?: DomainDefinition
  /** Whether it runs, so that the change waits for the next start. */
  readonly running: boolean
}

/** Compares each document with what is defined; changes nothing. */
export async function planChanges(
  { domains }: CompleteConnection,
  documents: readonly DefinitionDocument[],
): Promise<PlannedChange[]> {
  return Promise.all(
    documents.map(async (document) => {
      const wanted = document.definition
      const domain = await findDomain(domains, wanted)
      if (!domain?.persistent)
        return {
          document,
          action: 'create',
          definition: wanted,
          diff: compare(undefined, wanted),
          running: false,
        }
      const current = await domains.describe(domain.uuid, { inactive: true })
      const definition = keepChosen(wanted, current)
      const diff = compare(current, definition)
      const action = diff.some(({ kind }) => kind !== 'same') ? 'change' : 'none'
      return { document, action, definition, diff, current, running: domain.state !== 'shutoff' }
    }),
  )
}

async function findDomain(domains: CompleteConnection['domains'], { uuid, name }: DomainDefinition) {
  try {
    return await domains.get(uuid ?? name)
  } catch (error) {
    if (toVisorError(error).code === 'not-found') return undefined
    throw error
  }
}

function compare(current: DomainDefinition | undefined, wanted: DomainDefinition): DiffLine[] {
  const lines = (definition: DomainDefinition) => formatDefinition(definition, 'yaml').trimEnd().split('\n')
  return diffLines(current ? lines(current) : [], lines(wanted))
}

/** Makes one change; refused with `conflict` or `already-exists` when somebody else was faster. */
export function applyChange(
  { domains }: CompleteConnection,
  { document, definition, current }: PlannedChange,
  signal: AbortSignal,
): Promise<Domain> {
  const condition = current ? { ifMatch: entityTag(current) } : { ifNoneMatch: '*' }
  return withDocument(document, () => domains.define(definition, { ...condition, signal }))
}
