import type { DomainDefinition } from '../model/index.ts'

/**
 * Fields that visor or a driver fills in when a definition leaves them out: identity, addresses on a bus,
 * paths of sockets, models. Leaving one out of a file does not ask for another one.
 */
const chosen = new Set([
  ...['uuid', 'arch', 'machine', 'emulator', 'mac', 'alias', 'address', 'path', 'socket', 'source'],
  ...['driver', 'bus', 'model', 'port', 'index', 'heads', 'primary', 'vramKiB', 'controllers', 'memballoon'],
  ...['match', 'check', 'consoles', 'currentMemoryKiB', 'currentVcpus'],
])

/**
 * What `wanted` means for the domain that is defined as `current`: what visor chose for it stays, all else is
 * as wanted. Applying the result again changes nothing.
 */
export function keepChosen(wanted: DomainDefinition, current: DomainDefinition): DomainDefinition {
  const kept = keepIn(wanted, current) as DomainDefinition
  // The balloon and the processors at start follow the most there can be when only that was written down.
  if (wanted.currentMemoryKiB === undefined && wanted.memoryKiB !== current.memoryKiB)
    delete kept.currentMemoryKiB
  if (wanted.currentVcpus === undefined && wanted.vcpus !== current.vcpus) delete kept.currentVcpus
  return kept
}

type Fields = Record<string, unknown>

function keepIn(wanted: unknown, current: unknown): unknown {
  if (Array.isArray(wanted) && Array.isArray(current))
    return wanted.map((item, index) => keepIn(item, counterpart(item, index, current)))
  if (!isFields(wanted) || !isFields(current)) return wanted
  const kept: Fields = {}
  for (const [key, value] of Object.entries(wanted)) kept[key] = keepIn(value, current[key])
  for (const [key, value] of Object.entries(current))
    if (chosen.has(key) && value !== undefined && isAbsent(wanted[key])) kept[key] = value
  return kept
}

/** Disks are known by their target, cards by their address, everything else by its place. */
function counterpart(item: unknown, index: number, current: readonly unknown[]): unknown {
  if (!isFields(item)) return current[index]
  for (const key of ['target', 'mac'] as const)
    if (typeof item[key] === 'string') {
      const same = current.find((other) => isFields(other) && other[key] === item[key])
      if (same || key === 'mac' || /^[a-z]{2,3}[a-z0-9]+$/u.test(item[key])) return same
    }
  return current[index]
}

function isAbsent(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.length === 0)
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
