import { VisorError } from '../../../model/index.ts'

export interface NameChoice {
  readonly template: string
  readonly count: number
  readonly name: string | undefined
  readonly taken: (name: string) => boolean
}

/**
 * Names for clones: the one that was given, or it (or the template's name) with the next free numbers. Fails
 * with `already-exists` when the one given is taken.
 */
export function chooseNames({ template, count, name, taken }: NameChoice): string[] {
  if (name !== undefined && count === 1) {
    if (taken(name))
      throw new VisorError('already-exists', `There is already a domain '${name}'.`, {
        object: { kind: 'domain', name },
        remedy: 'Choose another name, or undefine that one first.',
      })
    return [name]
  }
  const names: string[] = []
  for (let number = 1; names.length < count; number++) {
    const wanted = `${name ?? template}-${number}`
    if (!taken(wanted)) names.push(wanted)
  }
  return names
}
