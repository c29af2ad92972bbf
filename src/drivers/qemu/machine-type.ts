/** What follows from the name of a machine type. */

/** Which chip set a machine type has. */
export function familyOf(machine: string): 'q35' | 'pc' | 'other' {
  return /^(?:pc-)?q35/u.test(machine) ? 'q35' : /^pc(?:-i440fx|$)/u.test(machine) ? 'pc' : 'other'
}
