/**
 * Command lines of QEMU in one form, whatever way they are written in: JSON or `key=value`, `on` or `true`,
 * sizes with and without units. Source: qemu(1).
 */

/** One option: `-device virtio-net-pci,id=net0` is of `device`, with the name `virtio-net-pci`. */
export interface Option {
  readonly option: string
  /** The driver or type; empty for options that have none. */
  readonly name: string
  readonly fields: ReadonlyMap<string, string>
}

/** Options whose first word is a driver or type, and what JSON calls it. */
const named: Readonly<Record<string, string>> = {
  device: 'driver',
  object: 'qom-type',
  netdev: 'type',
  chardev: 'backend',
  audiodev: 'driver',
  tpmdev: 'type',
  blockdev: 'driver',
  fsdev: 'driver',
  display: 'type',
}
/** Options of which there is one at most; their first word is a field. */
const firstFields: Readonly<Record<string, string>> = {
  machine: 'type',
  smp: 'cpus',
  m: 'size',
  name: 'guest',
  cpu: 'model',
  vnc: 'vnc',
  accel: 'accel',
  sandbox: 'enable',
}
const plain = /^(?:kernel|initrd|append|uuid|bios|incoming|k|D)$/u

/** The options of a command line without its program. */
export function readOptions(args: readonly string[]): Option[] {
  const options: Option[] = []
  for (let at = 0; at < args.length; at++) {
    const option = (args[at] ?? '').replace(/^--?/u, '')
    const next = args[at + 1]
    const hasValue = next !== undefined && !/^--?[a-zA-Z]/u.test(next)
    if (hasValue) at++
    options.push(readOption(option, hasValue ? next : undefined))
  }
  return options
}

function readOption(option: string, value: string | undefined): Option {
  if (value === undefined) return { option, name: '', fields: new Map() }
  if (plain.test(option)) return { option, name: '', fields: new Map([['value', value]]) }
  const key = named[option]
  const first = key ?? firstFields[option]
  const pairs = value.startsWith('{') ? flatten(JSON.parse(value)) : splitPairs(value, first)
  const fields = new Map(pairs.map(([name, text]) => [spellName(name), spell(option, name, text)]))
  const name = key === undefined ? '' : (fields.get(key) ?? '')
  if (key !== undefined) fields.delete(key)
  return { option, name, fields }
}

/** `first,key=value,...`; a comma that is doubled belongs to the value. */
function splitPairs(value: string, first: string | undefined): [string, string][] {
  return value
    .replaceAll(',,', '\0')
    .split(',')
    .map((part, index): [string, string] => {
      const text = part.replaceAll('\0', ',')
      const equals = text.indexOf('=')
      if (index === 0 && first !== undefined && !text.startsWith(`${first}=`) && !/^[\w-]+=/u.test(text))
        return [first, text]
      return equals < 0 ? [text, 'on'] : [text.slice(0, equals), text.slice(equals + 1)]
    })
}

function flatten(value: Record<string, unknown>, prefix = ''): [string, string][] {
  return Object.entries(value).flatMap(([key, one]): [string, string][] => {
    const path = `${prefix}${key}`
    if (Array.isArray(one) && one.every((item) => typeof item !== 'object'))
      return one.map((item): [string, string] => [path, String(item)])
    return typeof one === 'object' && one !== null
      ? flatten(one as Record<string, unknown>, `${path}.`)
      : [[path, String(one)]]
  })
}

const spellName = (name: string) => name.replaceAll('_', '-')

function spell(option: string, name: string, value: string): string {
  if (value === 'true' || value === 'yes') return 'on'
  if (value === 'false' || value === 'no') return 'off'
  if (name === 'addr' && option === 'device') return spellAddress(value)
  const size = /^(\d+)([kKmMgG]?)$/u.exec(value)
  if (option === 'm' && size) return String(Number(size[1]) * 1024 ** ('kmg'.indexOf(unit(size, 'm')) + 1))
  if (/^\d{4}-\d\d-\d\dT[\d:]+$/u.test(value)) return 'NOW'
  if (/^(?:size|hugetlbsize)$/u.test(name) && size?.[2])
    return String(Number(size[1]) * 1024 ** ('kmg'.indexOf(unit(size, '')) + 1))
  return /^0x[0-9a-f]+$/iu.test(value) ? String(Number(value)) : value
}

const unit = (match: RegExpExecArray, otherwise: string) => (match[2] || otherwise).toLowerCase()

/** `0x2` is `0x2.0x0`. */
function spellAddress(value: string): string {
  const [slot = '0', unitNumber = '0'] = value.split('.')
  return `${Number(slot)}.${Number(unitNumber)}`
}
