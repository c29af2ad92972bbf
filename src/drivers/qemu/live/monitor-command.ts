/** What says a part to the monitor of a machine that runs, and what takes it back. Source: QEMU's QMP reference. */
import type { Fields } from '../definition/key-value.ts'
import type { Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'

export interface MonitorCommand {
  readonly command: string
  readonly args: Readonly<Record<string, unknown>>
}

/** What QEMU knows the part by; undefined for what can only be said at the start. */
export function idOf(part: Part): string | undefined {
  if (part.option === 'start') return undefined
  const id = part.option === 'blockdev' ? part.node['node-name'] : part.fields.id
  return `${part.option}/${String(id)}`
}

/** Fails with `unsupported-config` for what can only be said at the start. */
export function addCommand(part: Part): MonitorCommand {
  switch (part.option) {
    case 'blockdev':
      return { command: 'blockdev-add', args: part.node }
    case 'device':
      return { command: 'device_add', args: { driver: part.driver, ...given(part.fields) } }
    case 'object':
      return { command: 'object-add', args: { 'qom-type': part.type, ...nested(inBytes(part)) } }
    case 'netdev':
      return { command: 'netdev_add', args: { type: part.type, ...nested(part.fields) } }
    case 'chardev':
      return { command: 'chardev-add', args: characterDevice(part.type, part.fields) }
    default:
      throw unsupported('devices', `'${part.args.join(' ')}' can only be had from the start on`)
  }
}

/** Of what stands behind devices; a device itself is asked for by its guest. */
export function removeCommand(part: Part): MonitorCommand | undefined {
  switch (part.option) {
    case 'blockdev':
      return { command: 'blockdev-del', args: { 'node-name': part.node['node-name'] } }
    case 'object':
      return { command: 'object-del', args: { id: part.fields.id } }
    case 'netdev':
      return { command: 'netdev_del', args: { id: part.fields.id } }
    case 'chardev':
      return { command: 'chardev-remove', args: { id: part.fields.id } }
    default:
      return undefined
  }
}

function given(fields: Fields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

/** Sizes of memory are written `2048k` on the command line, and are numbers in JSON. */
function inBytes({ type, fields }: { readonly type: string; readonly fields: Fields }): Fields {
  if (!type.startsWith('memory-backend-')) return fields
  const convert = (value: unknown) =>
    typeof value === 'string' && /^\d+k$/u.test(value) ? Number(value.slice(0, -1)) * 1024 : value
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, convert(value)])) as Fields
}

/** `addr.path` on the command line is `path` of `addr` in JSON; `list.0` the first of a list. */
function nested(fields: Fields): Record<string, unknown> {
  const whole: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(given(fields))) {
    const steps = key.split('.')
    const last = steps.pop() ?? ''
    let here = whole
    for (const step of steps) {
      here[step] ??= {}
      here = here[step] as Record<string, unknown>
    }
    here[last] = value
  }
  return withLists(whole) as Record<string, unknown>
}

function withLists(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).map(([key, item]) => [key, withLists(item)] as const)
  const isList = entries.length > 0 && entries.every(([key], index) => key === String(index))
  return isList ? entries.map(([, item]) => item) : Object.fromEntries(entries)
}

/** The monitor has its own words for what is behind character devices. */
function characterDevice(type: string, { id, logfile, logappend, ...fields }: Fields) {
  const common = given({ logfile, logappend })
  const data = (more: object) => ({ id, backend: { type, data: { ...more, ...common } } })
  if (type === 'null' || type === 'vc') return data({})
  if (type === 'spicevmc') return data({ type: fields.name })
  if (type === 'spiceport') return data({ fqdn: fields.name })
  if (type === 'dbus') return data({ name: fields.name })
  if (type === 'qemu-vdagent') return data(given({ clipboard: fields.clipboard, mouse: fields.mouse }))
  if (type === 'file') return data(given({ out: fields.path, append: fields.append }))
  if (type === 'pipe' || type === 'serial' || type === 'parallel') return data({ device: fields.path })
  if (type !== 'socket' && type !== 'udp')
    throw unsupported('devices', `a port of type '${type}' can only be had from the start on`)
  const { path, host, port, ipv4, ipv6, localaddr, localport, ...options } = fields
  const inet = { type: 'inet', data: given({ host, port: String(port), ipv4, ipv6 }) }
  const addr = path === undefined ? inet : { type: 'unix', data: { path } }
  const local = localport && { type: 'inet', data: { host: localaddr ?? '', port: String(localport) } }
  if (type === 'udp') return data({ remote: inet, ...(local ? { local } : {}) })
  // The monitor takes it for the one that listens where nothing is said.
  return data({ addr, server: false, ...given(options) })
}
