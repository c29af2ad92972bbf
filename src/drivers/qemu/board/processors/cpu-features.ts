/**
 * What becomes of the features that a definition wants of its processor. Under KVM the host has the word, at the
 * start of QEMU; what an emulated processor can have is known before. Sources: libvirt's "Domain XML format", CPU
 * model and topology; QEMU's properties `enforce` and `x-force-features`.
 */
import type { CompleteDefinition } from '../../definition/definition.ts'
import type { Fields } from '../../definition/key-value.ts'
import { unknownName } from '../../definition/unknown-name.ts'
import { unsupported } from '../../definition/unsupported.ts'
import type { Emulator } from '../../emulator/emulator.ts'

type Asked = Pick<Emulator, 'features' | 'unavailable' | 'path'>
type Feature = NonNullable<CompleteDefinition['cpu']>['features'][number]

const isX86 = ({ os }: CompleteDefinition) => os.arch === 'x86_64' || os.arch === 'i686'

/** Those an emulated processor can have; undefined where only QEMU's start tells. */
function emulated(definition: CompleteDefinition, { features }: Asked): Emulator['features'] {
  return definition.type !== 'kvm' && isX86(definition) ? features : undefined
}

/** Fails with `unsupported-config` for what is required and cannot be emulated, and for names of nothing. */
export function checkFeatures(definition: CompleteDefinition, emulator: Asked): void {
  const known = emulated(definition, emulator)
  const { cpu } = definition
  if (!known || !cpu) return
  for (const [index, { name, policy }] of cpu.features.entries()) {
    const path = `cpu.features[${index}]`
    const where = `${emulator.path} knows no feature '${name}' of processors`
    if (known[name] === undefined && policy !== 'optional')
      throw unknownName(path, {
        ...{ what: where, name, known: Object.keys(known) },
        list: `${emulator.path} -cpu help`,
      })
    if (policy === 'require' && !known[name] && cpu.check !== 'none')
      throw unsupported(
        path,
        `requires '${name}', which ${emulator.path} does not emulate`,
        "Make it 'optional', or run it by KVM on a host that has it.",
      )
  }
  const missing = unavailableOf(definition, emulator).filter((name) => !isSwitched(cpu.features, name))
  if (cpu.check === 'full' && missing.length > 0)
    throw unsupported(
      'cpu.check',
      `the processor '${cpu.model}' has ${missing.join(', ')}, which ${emulator.path} does not emulate`,
      "Disable these features, name another model, or check it less: 'partial'.",
    )
}

/** What QEMU takes, and whether it has to end where something of it is not to be had. */
export function featureFields(definition: CompleteDefinition, emulator: Asked): Fields {
  const { cpu, type } = definition
  if (!cpu) return {}
  const known = emulated(definition, emulator)
  const wanted = cpu.features.flatMap(({ name, policy }) => {
    if (policy === 'optional' && known && !known[name]) return []
    return [[name, policy === 'disable' || policy === 'forbid' ? 'off' : 'on'] as const]
  })
  const fields: Fields = Object.fromEntries(wanted)
  const forces = cpu.features.some(({ name, policy }) => policy === 'force' && known?.[name] === false)
  if (forces) {
    const force = known?.['force-features'] === undefined ? 'x-force-features' : 'force-features'
    // QEMU claims all that a model has then, not only what is forced.
    const others = unavailableOf(definition, emulator).filter((name) => !(name in fields))
    return { ...Object.fromEntries(others.map((name) => [name, 'off'])), ...fields, [force]: 'on' }
  }
  const requires = cpu.features.some(({ policy }) => policy === 'require')
  const isChecked =
    cpu.check === 'full' || (cpu.check === 'partial' && type === 'kvm') || (requires && !known)
  return isChecked && isX86(definition) && cpu.check !== 'none' ? { ...fields, enforce: 'on' } : fields
}

function unavailableOf({ cpu }: CompleteDefinition, { unavailable }: Asked): readonly string[] {
  return unavailable?.[cpu?.model ?? ''] ?? []
}

function isSwitched(features: readonly Feature[], name: string): boolean {
  return features.some((one) => one.name === name && (one.policy === 'disable' || one.policy === 'forbid'))
}
