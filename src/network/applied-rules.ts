/**
 * The rules that are in force, and how they become others. What changes with who is there is in sets and maps:
 * of these alone the kernel is told, in well under a millisecond; else all is written anew, at once too.
 */
import { changeElements, type ElementChange, hasTable, mostElementsAtOnce } from '../host/index.ts'
import { nft } from './commands.ts'
import type { FilterRules } from './filters/open.ts'
import type { PublishedPort } from './publications.ts'
import { elementKey, elementsOf, type RuledNetwork, type RuleElement } from './rule-elements.ts'
import { formatRules, removeRules } from './rules.ts'

export interface AppliedRules {
  /**
   * Makes them those of these networks, with those of their filters; of none, there are none. Fails with
   * `failed`; they are as before then.
   */
  become(
    networks: readonly RuledNetwork[],
    published: readonly PublishedPort[],
    filters: FilterRules,
  ): Promise<void>
  /** Whether nobody else has taken them away. */
  areThere(): Promise<boolean>
}

interface InForce {
  /** All but what is in sets and maps. */
  readonly frame: string
  readonly elements: ReadonlyMap<string, RuleElement>
}

export function appliedRules(table: string): AppliedRules {
  let inForce: InForce | undefined
  return {
    async become(networks, published, filters) {
      if (networks.length === 0) {
        inForce = undefined
        return nft(`${removeRules(table)}\n${await filters.script()}`)
      }
      const elements = elementsOf(networks, published)
      const next = {
        frame: `${formatRules(table, networks)}\n${filters.frame}`,
        elements: new Map(elements.map((element) => [elementKey(element), element])),
      }
      const changes = inForce?.frame === next.frame ? changesBetween(inForce.elements, next.elements) : []
      inForce = undefined
      // Who took them away from outside, such as `nft flush ruleset`, is noticed here: all is written anew.
      const isDone =
        changes.length > 0 &&
        changes.length <= mostElementsAtOnce &&
        (await changeElements(table, changes).then(
          () => true,
          () => false,
        ))
      if (!isDone) {
        // The kernel waits for all its processors to let go of what is removed: where there is nothing, it need not.
        const before = (await isAnyThere(table)) ? removeRules(table) : ''
        await nft(`${before}\n${formatRules(table, networks, elements)}\n${await filters.script()}`)
      }
      inForce = next
    },
    areThere: async () => (await tablesOf(table)).every(Boolean),
  }
}

const tablesOf = (table: string) => Promise.all([hasTable('inet', table), hasTable('bridge', table)])

const isAnyThere = async (table: string): Promise<boolean> => (await tablesOf(table)).some(Boolean)

/**
 * What goes before what comes, as a port that leads elsewhere has the same key; and who names a limit goes before it,
 * as it comes after it.
 */
function changesBetween(before: InForce['elements'], after: InForce['elements']): ElementChange[] {
  const missingIn = (there: InForce['elements'], all: InForce['elements'], change: 'add' | 'delete') =>
    [...all].flatMap(([key, element]) => (there.has(key) ? [] : [{ change, element }]))
  return [...missingIn(after, before, 'delete').reverse(), ...missingIn(before, after, 'add')]
}
