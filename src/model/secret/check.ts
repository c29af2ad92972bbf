/** What must hold between the parts of a secret's definition. Source: libvirt's "Secret XML format". */
import { type Fault, faultError } from '../issue.ts'
import { positionsOf } from '../position.ts'
import { SecretDefinition } from './definition.ts'

type Usage = NonNullable<SecretDefinition['usage']>
type Naming = 'volume' | 'name' | 'target'

/** The element that names what it is for. */
const namings: Readonly<Record<Usage['type'], Naming | undefined>> = {
  none: undefined,
  volume: 'volume',
  ceph: 'name',
  iscsi: 'target',
  tls: 'name',
  vtpm: 'name',
}

/** What disks, pools and devices call it by, when its use has a name. */
export const secretUsageName = (usage: Usage | undefined): string | undefined => {
  const naming = usage && namings[usage.type]
  return naming && usage[naming]
}

/** The usage of this type that has this name. */
export function secretUsage(type: Usage['type'], name: string | undefined): Usage {
  const naming = namings[type]
  return { type, ...(naming && name !== undefined ? { [naming]: name } : {}) }
}

/** Fails with `invalid-definition` that tells everything that does not fit together. */
export function checkSecretDefinition(definition: SecretDefinition): void {
  const { usage } = definition
  if (!usage) return
  const wanted = namings[usage.type]
  const faults: Fault[] = []
  for (const naming of ['volume', 'name', 'target'] as const) {
    const path = `usage.${naming}`
    if (naming === wanted && usage[naming] === undefined)
      faults.push({ path, message: `must be given for the use '${usage.type}'` })
    if (naming !== wanted && usage[naming] !== undefined)
      faults.push({ path, message: `means nothing for the use '${usage.type}'` })
  }
  if (faults.length > 0)
    throw faultError(faults, {
      code: 'invalid-definition',
      schema: SecretDefinition,
      positions: positionsOf(definition),
    })
}
