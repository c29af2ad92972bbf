/** What follows from the name of a machine type. */

/** Which chip set a machine type has. */
export type MachineFamily = 'q35' | 'pc' | 'other'

export function familyOf(machine: string): MachineFamily {
  return /^(?:pc-)?q35/u.test(machine) ? 'q35' : /^pc(?:-i440fx|$)/u.test(machine) ? 'pc' : 'other'
}
