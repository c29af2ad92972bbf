/**
 * How fast the cells of a machine reach each other's memory: the ACPI table HMAT, from which the guest learns where
 * its processes run best. Sources: qemu(1), "-numa hmat-lb" and "hmat-cache"; ACPI 6.3, 5.2.27.
 */
import type { CompleteDefinition } from '../../definition/definition.ts'
import { keyValue } from '../../definition/key-value.ts'
import { atStart, type Part } from '../../definition/parts.ts'
import { unsupported } from '../../definition/unsupported.ts'

type Definition = Pick<CompleteDefinition, 'cpu'>

const cellsOf = ({ cpu }: Definition) =>
  (cpu?.numa ?? []).map((cell, index) => ({ ...cell, id: cell.id ?? index }))

export function tellsPerformance(definition: Definition): boolean {
  const { numaLatencies = [], numaBandwidths = [] } = definition.cpu ?? {}
  const cached = cellsOf(definition).some(({ caches }) => caches.length > 0)
  return numaLatencies.length > 0 || numaBandwidths.length > 0 || cached
}

/** The cell whose processors are nearest to the memory of a cell; undefined where nothing is told. */
export function initiatorOf(definition: Definition, cell: number): number | undefined {
  if (!tellsPerformance(definition)) return undefined
  const cells = cellsOf(definition)
  const withProcessors = cells.filter(({ cpus }) => cpus !== undefined)
  if (withProcessors.some(({ id }) => id === cell)) return cell
  const { numaLatencies = [], numaBandwidths = [] } = definition.cpu ?? {}
  const reads = (access: string) => access !== 'write'
  const [fastest] = numaLatencies
    .filter(({ target, cache, access }) => target === cell && cache === undefined && reads(access))
    .sort((a, b) => a.nanoseconds - b.nanoseconds)
  const [widest] = numaBandwidths
    .filter(({ target, cache, access }) => target === cell && cache === undefined && reads(access))
    .sort((a, b) => b.kibPerSecond - a.kibPerSecond)
  return fastest?.initiator ?? widest?.initiator ?? withProcessors[0]?.id
}

const policies = { none: 'none', writeback: 'write-back', writethrough: 'write-through' } as const
const levels = ['memory', 'first-level', 'second-level', 'third-level']

export function performanceParts(definition: Definition): Part[] {
  if (!tellsPerformance(definition)) return []
  const { numaLatencies = [], numaBandwidths = [] } = definition.cpu ?? {}
  const bound = (
    {
      initiator,
      target,
      cache = 0,
      access,
    }: (typeof numaLatencies)[number] | (typeof numaBandwidths)[number],
    what: 'latency' | 'bandwidth',
    value: string | number,
  ) => {
    const kind = `${access}-${what}`
    const fields = { initiator, target, hierarchy: levels[cache], 'data-type': kind, [what]: value }
    return atStart('-numa', keyValue('hmat-lb', fields))
  }
  return [
    ...numaLatencies.map((one) => bound(one, 'latency', one.nanoseconds)),
    ...numaBandwidths.map((one) => bound(one, 'bandwidth', `${one.kibPerSecond}K`)),
    ...cellsOf(definition).flatMap(({ id, caches }) =>
      [...caches]
        .sort((a, b) => a.level - b.level)
        .map(({ level, associativity, policy, sizeKiB, lineBytes }) =>
          atStart(
            '-numa',
            keyValue('hmat-cache', {
              'node-id': id,
              size: `${sizeKiB}K`,
              level,
              associativity: associativity === 'full' ? 'complex' : associativity,
              policy: policies[policy],
              line: lineBytes,
            }),
          ),
        ),
    ),
  ]
}

/** Fails with `unsupported-config` for a table that QEMU would not take. */
export function checkPerformance(definition: CompleteDefinition): void {
  if (!tellsPerformance(definition)) return
  const cells = cellsOf(definition)
  const { numaLatencies = [], numaBandwidths = [] } = definition.cpu ?? {}
  if (!definition.features.acpi)
    throw unsupported('cpu.numa', 'how fast memory is, is told by ACPI', 'Give it the feature acpi.')
  for (const [path, list] of [
    ['cpu.numaLatencies', numaLatencies],
    ['cpu.numaBandwidths', numaBandwidths],
  ] as const)
    for (const [index, { initiator, target, cache }] of list.entries()) {
      const of = cells.find(({ id }) => id === initiator)
      const to = cells.find(({ id }) => id === target)
      const where = `${path}[${index}]`
      if (!of?.cpus) throw unsupported(`${where}.initiator`, `cell ${initiator} has no processors`)
      if (!to) throw unsupported(`${where}.target`, `the machine has no cell ${target}`)
      if (cache !== undefined && !to.caches.some(({ level }) => level === cache))
        throw unsupported(`${where}.cache`, `cell ${target} has no cache of level ${cache}`)
    }
}
