/**
 * The firmware that this host has, by the descriptions that its packages bring. Source: QEMU's
 * docs/interop/firmware.json and the rules there for their order.
 */
import { readdir, readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { isRecord } from '../qmp/index.ts'

/** UEFI in a flash chip. */
export interface Firmware {
  readonly description: string
  readonly executable: string
  readonly format: 'raw' | 'qcow2'
  /** What new variables are made from; without it, it keeps none. */
  readonly template?: string
  readonly targets: readonly { readonly arch: string; readonly machines: readonly RegExp[] }[]
  readonly features: readonly string[]
}

const directories = () => [
  join(process.env.XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'qemu/firmware'),
  '/etc/qemu/firmware',
  '/usr/share/qemu/firmware',
]

/** All UEFI firmware there is, best first. A description of an earlier directory hides those of its name. */
export async function findFirmware(places: readonly string[] = directories()): Promise<Firmware[]> {
  const files = new Map<string, string>()
  for (const directory of places)
    for (const name of await readdir(directory).catch(() => []))
      if (name.endsWith('.json') && !files.has(name)) files.set(name, join(directory, name))
  const found = await Promise.all(
    [...files].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, file]) => readFirmware(file)),
  )
  return found.filter((one) => one !== undefined)
}

async function readFirmware(file: string): Promise<Firmware | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'))
    return isRecord(value) ? parseFirmware(value) : undefined
  } catch {
    // An empty file is how an administrator switches one off.
    return undefined
  }
}

function parseFirmware(value: Record<string, unknown>): Firmware | undefined {
  const { mapping, targets, features, description } = value
  const isUefi = Array.isArray(value['interface-types']) && value['interface-types'].includes('uefi')
  if (!isUefi || !isRecord(mapping) || mapping.device !== 'flash' || !Array.isArray(targets)) return undefined
  const { executable, mode } = mapping
  const template = mapping['nvram-template']
  if (!isRecord(executable) || typeof executable.filename !== 'string') return undefined
  const isSplit = mode === undefined || mode === 'split'
  if (!isSplit && mode !== 'stateless') return undefined
  return {
    description: typeof description === 'string' ? description : executable.filename,
    executable: executable.filename,
    format: executable.format === 'qcow2' ? 'qcow2' : 'raw',
    ...(isSplit && isRecord(template) && typeof template.filename === 'string'
      ? { template: template.filename }
      : {}),
    targets: targets.filter(isRecord).map(({ architecture, machines }) => ({
      arch: String(architecture),
      machines: Array.isArray(machines) ? machines.map((glob) => globPattern(String(glob))) : [],
    })),
    features: Array.isArray(features) ? features.map(String) : [],
  }
}

const globPattern = (glob: string): RegExp =>
  new RegExp(`^${glob.replace(/[\\^$.|?+()[\]{}]/gu, '\\$&').replaceAll('*', '.*')}$`, 'u')

export interface FirmwareWanted {
  readonly arch: string
  readonly machine: string
  /** Undefined: as it comes, which is without. */
  readonly secureBoot?: boolean | undefined
  readonly enrolledKeys?: boolean | undefined
}

/** The first that fits; without a wish, one without Secure Boot comes before one with. */
export function chooseFirmware(
  all: readonly Firmware[],
  { arch, machine, secureBoot = false, enrolledKeys }: FirmwareWanted,
): Firmware | undefined {
  const has = ({ features }: Firmware, name: string) => features.includes(name)
  return all.find(
    (one) =>
      one.targets.some(
        (target) => target.arch === arch && target.machines.some((pattern) => pattern.test(machine)),
      ) &&
      has(one, 'secure-boot') === secureBoot &&
      has(one, 'enrolled-keys') === (enrolledKeys ?? secureBoot) &&
      // These need encrypted memory, which no guest here has.
      !has(one, 'amd-sev-snp') &&
      !has(one, 'intel-tdx'),
  )
}
