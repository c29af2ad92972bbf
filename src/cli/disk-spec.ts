import { extname, resolve } from 'node:path'
import { VisorError } from '../model/index.ts'
import type { encryption } from './encryption.ts'
import { isSize, parseSize } from './units.ts'

export const newFormats = ['raw', 'qcow2'] as const
/** Formats of images there are: as QEMU names them, and libvirt. */
const diskFormats = [
  ...newFormats,
  ...(['qed', 'qcow', 'vmdk', 'vdi', 'vpc', 'vhdx', 'ploop', 'bochs', 'cloop', 'dmg'] as const),
] as const
const devices = ['disk', 'cdrom', 'floppy'] as const
const buses = ['virtio', 'ide', 'sata', 'scsi', 'usb', 'fdc', 'nvme'] as const
const caches = ['default', 'none', 'writethrough', 'writeback', 'directsync', 'unsafe'] as const

const engines = ['native', 'threads', 'io_uring'] as const
const discards = ['ignore', 'unmap'] as const

/** What `--disk` and `--cdrom` ask for: a new disk of a size, a volume of a pool, or a file there is. */
export interface DiskSpec {
  readonly sizeBytes?: number
  readonly file?: string
  /** Of a new disk, or of the volume. */
  readonly pool?: string
  readonly volume?: string
  /** What a new disk is a copy of. */
  readonly image?: string
  readonly format: (typeof diskFormats)[number]
  readonly device: (typeof devices)[number]
  readonly bus?: (typeof buses)[number]
  readonly cache?: (typeof caches)[number]
  readonly readonly: boolean
  readonly io?: (typeof engines)[number]
  readonly discard?: (typeof discards)[number]
  readonly serial?: string
  readonly shareable?: true
  readonly transient?: true
  /** Of a new disk: encrypted with this secret, or with one that is made for it. */
  readonly encrypt?: string | true
  /** Of a disk that is encrypted. */
  readonly encryption?: ReturnType<typeof encryption>['encryption']
}

/** '20GiB', '20GiB,pool=fast', 'disk.qcow2', 'data.qcow2,pool=fast', '/srv/web.img,format=raw,readonly', '10G,format=raw'. Fails with `invalid-argument`. */
export function parseDisk(text: string, cwd: string = process.cwd()): DiskSpec {
  const [source = '', ...settings] = text.split(',')
  if (source === '')
    throw new VisorError('invalid-argument', `The disk '${text}' names no size and no file.`, {
      remedy: usage,
    })
  const values = readSettings(settings, text)
  const isNew = isSize(source)
  const device = oneOf(values.device, devices, 'device', text) ?? 'disk'
  const bus = oneOf(values.bus, buses, 'bus', text)
  const cache = oneOf(values.cache, caches, 'cache', text)
  const formats = isNew ? newFormats : diskFormats
  const format = oneOf(values.format, formats, 'format', text) ?? guessFormat(source, isNew)
  const io = oneOf(values.io, engines, 'I/O engine', text)
  const discard = oneOf(values.discard, discards, 'fate of discards', text)
  return {
    ...placeOf(source, values.pool, cwd),
    format,
    device,
    readonly: values.readonly !== undefined || device === 'cdrom',
    ...(bus && { bus }),
    ...(cache && { cache }),
    ...(io && { io }),
    ...(discard && { discard }),
    ...(values.serial !== undefined && { serial: values.serial }),
    ...(values.shareable !== undefined && { shareable: true as const }),
    ...(values.transient !== undefined && { transient: true as const }),
    ...encryptOf(values.encrypt, isNew, text),
  }
}

function placeOf(
  source: string,
  pool: string | undefined,
  cwd: string,
): Pick<DiskSpec, 'sizeBytes' | 'file' | 'pool' | 'volume'> {
  const named = pool === undefined ? {} : { pool }
  if (isSize(source)) return { sizeBytes: parseSize(source, 'The disk'), ...named }
  return pool === undefined ? { file: resolve(cwd, source) } : { volume: source, ...named }
}

const usage =
  "Write a size ('20GiB'), a file ('disk.qcow2'), or a volume with its pool=, then settings: format=, bus=, cache=, device=, io=, discard=, serial=, encrypt, encrypt=SECRET, readonly, shareable, transient."
const flags = ['readonly', 'shareable', 'transient'] as const
const optional = ['encrypt'] as const
const known = [
  ...(['pool', 'format', 'device', 'bus', 'cache', 'io', 'discard', 'serial'] as const),
  ...flags,
  ...optional,
] as const

function readSettings(
  settings: readonly string[],
  text: string,
): Partial<Record<(typeof known)[number], string>> {
  return Object.fromEntries(
    settings.map((setting) => {
      const [key = '', ...value] = setting.split('=')
      if (
        !(known as readonly string[]).includes(key) ||
        (!([...flags, ...optional] as readonly string[]).includes(key) && value.length === 0)
      )
        throw new VisorError('invalid-argument', `The disk '${text}' has an unknown setting '${setting}'.`, {
          remedy: usage,
        })
      return [key, value.join('=')]
    }),
  )
}

/** A volume says itself what it is encrypted with. */
function encryptOf(value: string | undefined, isNew: boolean, text: string): Pick<DiskSpec, 'encrypt'> {
  if (value === undefined) return {}
  if (isNew) return { encrypt: value === '' ? true : value }
  throw new VisorError('invalid-argument', `The disk '${text}' is no new one, which could be encrypted.`, {
    remedy: 'A volume of a pool is unlocked by the secret that visor keeps of it: leave out encrypt.',
  })
}

function oneOf<T extends string>(
  value: string | undefined,
  all: readonly T[],
  what: string,
  text: string,
): T | undefined {
  const found = all.find((candidate) => candidate === value)
  if (value !== undefined && !found)
    throw new VisorError('invalid-argument', `The disk '${text}' has the unknown ${what} '${value}'.`, {
      remedy: `There are: ${all.join(', ')}.`,
    })
  return found
}

/** By the name alone: a guest that writes a header into a raw disk must not change what it is. */
export function guessFormat(source: string, isNew: boolean): (typeof diskFormats)[number] {
  return isNew || extname(source).toLowerCase() === '.qcow2' ? 'qcow2' : 'raw'
}
