/** Values of the variables of filters. Source: libvirt's "Network Filters", usage of variables. */
import { type RuleMatch, variable } from '../../model/index.ts'

/** Values by the name of the variable; a list has several. */
export type Values = ReadonlyMap<string, readonly string[]>

/** Of these and those of `parameters`, which count more. */
export function withParameters(
  values: Values,
  parameters: readonly { readonly name: string; readonly value: string }[],
): Values {
  const own = new Map<string, string[]>()
  for (const { name, value } of parameters) own.set(name, [...(own.get(name) ?? []), value])
  return new Map([...values, ...own])
}

/** Why there is no rule to be made of it. */
export class ValueProblem extends Error {}

/** More rules than this of one are a mistake. */
const mostRules = 4096

/**
 * The rule with values: one for each item of its lists, those of the same number in step with each other, those of
 * different numbers in all combinations. Of a list, what is of another kind is left out. Fails with {@link ValueProblem}.
 */
export function withValues(
  match: RuleMatch,
  values: Values,
  fits: (key: string, value: string) => boolean,
): RuleMatch[] {
  let made: RuleMatch[] = [match]
  const lists = new Map<string, Map<string, readonly string[]>>()
  for (const [key, text] of Object.entries(match)) {
    if (typeof text !== 'string') continue
    const [, name, iterator, number = '0'] = variable.exec(text) ?? []
    if (name === undefined) continue
    const list = values.get(name) ?? []
    if (list.length === 0) throw new ValueProblem(`the variable '${name}' has no value`)
    const isItem = iterator === '' && text.endsWith(']')
    if (isItem) {
      const item = list[Number(number)]
      if (item === undefined) throw new ValueProblem(`the variable '${name}' has no item ${number}`)
      made = made.map((one) => ({ ...one, [key]: item }))
    } else {
      const fitting = list.filter((one) => fits(key, one))
      lists.set(number, (lists.get(number) ?? new Map()).set(key, fitting.length > 0 ? fitting : list))
    }
  }
  for (const group of lists.values()) made = inStep(made, group)
  return made
}

function inStep(made: readonly RuleMatch[], group: ReadonlyMap<string, readonly string[]>): RuleMatch[] {
  const length = Math.max(...[...group.values()].map((list) => list.length))
  if ([...group.values()].some((list) => list.length !== length && list.length !== 1))
    throw new ValueProblem('lists that are gone through together have different lengths')
  if (made.length * length > mostRules) throw new ValueProblem(`it would be more than ${mostRules} rules`)
  return made.flatMap((one) =>
    Array.from({ length }, (_, index) => ({
      ...one,
      ...Object.fromEntries([...group].map(([key, list]) => [key, list[index] ?? list[0]])),
    })),
  )
}
