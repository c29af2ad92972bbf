/** What the test driver makes of a definition. */
import {
  checkDefinition,
  checkHonoured,
  DomainDefinition,
  type DomainDefinitionInput,
  parse,
  positionOf,
  VisorError,
} from '../../model/index.ts'

/** A machine that is only played can have any device; what follows its end must be one that is played. */
const honoured = [
  'onPoweroff=destroy|restart',
  'onReboot=destroy|restart',
  'onCrash=destroy|restart|preserve',
  ...Object.keys(DomainDefinition.fields)
    .filter((field) => field !== 'type' && !field.startsWith('on'))
    .map((field) => `${field}.*`),
]

/**
 * The definition, checked and with its defaults. Fails with `invalid-definition`, or with
 * `unsupported-config` for what the driver would not honour.
 */
export function completeDefinition(input: DomainDefinitionInput): DomainDefinition {
  const definition = parse(DomainDefinition, input)
  checkDefinition(definition)
  refuseForeign(definition)
  checkHonoured(DomainDefinition, definition, honoured, 'driver test')
  return definition
}

function refuseForeign(definition: DomainDefinition): void {
  if (definition.type === 'test') return
  throw new VisorError(
    'unsupported-config',
    `The test driver runs no domains of type '${definition.type}'.`,
    {
      ...positionOf(definition, 'type'),
      path: 'type',
      remedy: "Use the type 'test', or another driver.",
    },
  )
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
