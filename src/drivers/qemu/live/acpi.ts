/** What cannot be plugged into a machine without ACPI, by which its guest would be told. */
import { type DomainDefinition, VisorError } from '../../../model/index.ts'
import { familyOf } from '../board/machine-type.ts'
import type { Part } from '../definition/parts.ts'

/** Says so for a PC without ACPI; undefined for every other machine. */
export function needsAcpi({ name, os, features }: DomainDefinition, what: string): VisorError | undefined {
  const family = familyOf(os.machine ?? 'q35')
  if (features.acpi || (family !== 'pc' && family !== 'q35')) return undefined
  return new VisorError(
    'unsupported-config',
    `Domain '${name}' has no ACPI, by which the guest of a '${os.machine}' is told of ${what} that come and go.`,
    {
      path: 'features.acpi',
      remedy:
        'Give it the feature acpi and start it anew, or make the change for the next start only (config).',
    },
  )
}

/** Fails with `unsupported-config` for parts that this machine takes only with ACPI. */
export function checkAcpi(definition: DomainDefinition, parts: readonly Part[]): void {
  const isPc = familyOf(definition.os.machine ?? 'q35') === 'pc'
  const needs = parts.some(
    (part) =>
      part.option === 'device' &&
      (part.driver === 'pc-dimm' ||
        part.driver === 'nvdimm' ||
        (isPc && /^pci\.\d+$/u.test(String(part.fields.bus ?? '')))),
  )
  const refusal = needs ? needsAcpi(definition, 'devices') : undefined
  if (refusal) throw refusal
}
