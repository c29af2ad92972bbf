import { type DomainDefinition, notFound, VisorError } from '../model/index.ts'
import type { Store } from './store.ts'

/** What the store keeps of a domain. */
export interface DefinedDomain {
  readonly definition: DomainDefinition & { readonly uuid: string }
  readonly autostart: boolean
  /** What it is protected from; see `domains.setProtection`. */
  readonly protectedFrom?: readonly ('undefine' | 'start')[]
}

/**
 * The persistent domains of one driver: read once, written through to the store. Names and uuids are one of
 * a kind. A change has happened, and is durable, when the call resolves.
 */
export interface DefinedDomains {
  all(): Iterable<DefinedDomain>
  /** Fails with `not-found`. */
  get(uuid: string): DefinedDomain
  find(uuid: string): DefinedDomain | undefined
  findByName(name: string): DefinedDomain | undefined
  /** Fails with `already-exists` when another domain has the name, or the same name has another uuid. */
  put(domain: DefinedDomain): Promise<void>
  remove(uuid: string): Promise<void>
}

/** Opens the table of `driver` in the store. */
export async function openDefinedDomains(store: Store, driver: string): Promise<DefinedDomains> {
  const prefix = `${driver}/domain/`
  const byUuid = new Map<string, DefinedDomain>()
  const byName = new Map<string, DefinedDomain>()
  for (const entry of await store.list(prefix)) remember(entry.value as DefinedDomain)

  function remember(domain: DefinedDomain): void {
    byUuid.set(domain.definition.uuid, domain)
    byName.set(domain.definition.name, domain)
  }
  function forget(domain: DefinedDomain | undefined): void {
    if (!domain) return
    byUuid.delete(domain.definition.uuid)
    byName.delete(domain.definition.name)
  }

  return {
    all: () => byUuid.values(),
    find: (uuid) => byUuid.get(uuid),
    findByName: (name) => byName.get(name),
    get(uuid) {
      const domain = byUuid.get(uuid)
      if (!domain) throw notFound('domain', uuid)
      return domain
    },
    async put(domain) {
      const { name, uuid } = domain.definition
      const other = byName.get(name)
      if (other && other.definition.uuid !== uuid)
        throw new VisorError(
          'already-exists',
          `There is already a domain '${name}', with uuid ${other.definition.uuid}.`,
          { remedy: 'Choose another name, or undefine that one first.', object: { kind: 'domain', name } },
        )
      const before = byUuid.get(uuid)
      // Remembered before the write, so that a second define of the name meanwhile is refused.
      forget(before)
      remember(domain)
      try {
        await store.write([{ key: prefix + uuid, value: domain }])
      } catch (error) {
        forget(domain)
        if (before) remember(before)
        throw error
      }
    },
    async remove(uuid) {
      await store.write([{ key: prefix + uuid, value: undefined }])
      forget(byUuid.get(uuid))
    },
  }
}
