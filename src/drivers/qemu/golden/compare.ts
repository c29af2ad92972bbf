/** Two command lines of QEMU for the same definition, difference by difference. */
import { type Option, readOptions } from './options.ts'

/**
 * What differs, libvirt's first, such as `-device VGA: not there` (only libvirt has it), `-device VGA: more`
 * (only we have it) or `-device VGA vgamem-mb: '16' is not there`. Names that refer to other options
 * (`netdev=hostnet0`) count as equal when they refer to options that belong together.
 */
export function compareCommandLines(libvirt: readonly string[], ours: readonly string[]): string[] {
  const theirs = readOptions(libvirt)
  const own = readOptions(ours)
  const pairs = pairUp(theirs, own)
  const names = new Map<string, string>()
  for (const [one, other] of pairs) {
    const [from, to] = [nameOf(one), nameOf(other)]
    if (from !== undefined && to !== undefined) names.set(from, to)
  }
  const matched = new Set([...pairs.keys(), ...pairs.values()])
  return [
    ...[...pairs].flatMap(([one, other]) => fieldDifferences(one, other, names)),
    ...theirs.filter((one) => !matched.has(one)).map((one) => `${title(one)}: not there`),
    ...own.filter((one) => !matched.has(one)).map((one) => `${title(one)}: more`),
  ]
}

const nameOf = ({ fields }: Option) => fields.get('id') ?? fields.get('node-name')
const title = ({ option, name }: Option) => (name === '' ? `-${option}` : `-${option} ${name}`)

/** Those that belong together: of the same option and name, the most alike first. */
function pairUp(theirs: readonly Option[], own: readonly Option[]): Map<Option, Option> {
  const pairs = new Map<Option, Option>()
  const left = new Set(own)
  const candidates = theirs
    .flatMap((one) =>
      own
        .filter((other) => title(other) === title(one))
        .map((other) => [one, other, alike(one, other)] as const),
    )
    .sort(([, , a], [, , b]) => b - a)
  for (const [one, other] of candidates) {
    if (pairs.has(one) || !left.has(other)) continue
    pairs.set(one, other)
    left.delete(other)
  }
  return pairs
}

function alike(one: Option, other: Option): number {
  let score = 0
  for (const [key, value] of one.fields) if (other.fields.get(key) === value) score += key === 'id' ? 3 : 2
  return score
}

function fieldDifferences(one: Option, other: Option, names: ReadonlyMap<string, string>): string[] {
  const keys = [...new Set([...one.fields.keys(), ...other.fields.keys()])].sort()
  return keys.flatMap((key) => {
    const theirs = one.fields.get(key)
    const ours = other.fields.get(key)
    if (key === 'id' || key === 'node-name' || sameValue(theirs, ours, names)) return []
    const what = `${title(one)} ${key}`
    if (ours === undefined) return `${what}: '${theirs}' is not there`
    return theirs === undefined ? `${what}: '${ours}' more` : `${what}: '${theirs}' is '${ours}'`
  })
}

/** `usb.0` is a bus of `usb`. */
function sameValue(
  theirs: string | undefined,
  ours: string | undefined,
  names: ReadonlyMap<string, string>,
): boolean {
  if (theirs === ours) return true
  if (theirs === undefined) return false
  const renamed = names.get(theirs)
  if (renamed !== undefined && renamed === ours) return true
  const dot = theirs.lastIndexOf('.')
  const owner = names.get(theirs.slice(0, dot))
  return owner !== undefined && `${owner}${theirs.slice(dot)}` === ours
}
