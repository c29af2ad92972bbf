/** What the test driver makes of a definition. */
import { DomainDefinition, type DomainDefinitionInput, type schema, VisorError } from '../../model/index.ts'

/** The definition with its defaults. Fails with `unsupported-config` for what the driver would not honour. */
export function completeDefinition(input: DomainDefinitionInput): DomainDefinition {
  const definition = fillIn(DomainDefinition as unknown as schema.Schema, input) as DomainDefinition
  refuseUnless(definition.type === 'test', 'type', `a domain of type '${definition.type}'`, "'test'")
  refuseAction(definition, 'onPoweroff', ['destroy', 'restart'])
  refuseAction(definition, 'onReboot', ['destroy', 'restart'])
  refuseAction(definition, 'onCrash', ['destroy', 'restart', 'preserve'])
  return definition
}

function refuseAction(
  definition: DomainDefinition,
  field: 'onPoweroff' | 'onReboot' | 'onCrash',
  allowed: readonly string[],
): void {
  const action = definition[field]
  const choices = allowed.map((word) => `'${word}'`).join(', ')
  refuseUnless(allowed.includes(action), field, `the ${field} action '${action}'`, choices)
}

function refuseUnless(honoured: boolean, path: string, what: string, allowed: string): void {
  if (honoured) return
  throw new VisorError('unsupported-config', `The test driver cannot honour ${what}.`, {
    path,
    remedy: `Use ${allowed}.`,
  })
}

/** Fills in the defaults of a value that was checked already. */
function fillIn(schema: schema.Schema, value: unknown): unknown {
  const given = value === undefined ? structuredClone(schema.options.default) : value
  if (schema.kind === 'array' && Array.isArray(given))
    return given.map((item) => fillIn((schema as schema.ArraySchema).item, item))
  if (schema.kind !== 'object' || typeof given !== 'object' || given === null) return given
  const out: Record<string, unknown> = {}
  for (const [key, field] of Object.entries((schema as schema.ObjectSchema).fields)) {
    const part = fillIn(field, (given as Record<string, unknown>)[key])
    if (part !== undefined) out[key] = part
  }
  return out
}

/** The serial ports a definition names; there is always a first one. */
export function serialPortNames({ devices }: DomainDefinition): string[][] {
  const names = devices.serials.map(({ alias }, index) => [alias ?? `serial${index}`, `serial${index}`])
  if (names.length === 0) names.push(['serial0'])
  // The first console is the first serial port, as in libvirt.
  devices.consoles.forEach(({ alias, port }, index) => {
    names[port ?? 0]?.push(`console${index}`, ...(alias ? [alias] : []))
  })
  return names
}

/** How many screens the machine has: at least one. */
export function screenCount({ devices }: DomainDefinition): number {
  return Math.max(
    1,
    devices.videos.reduce((sum, { heads }) => sum + (heads ?? 1), 0),
  )
}
