import type { HostFiles } from './files.ts'

/** What /proc/cpuinfo says of the first processor, and how many there are. */
export interface Processor {
  readonly vendor: 'Intel' | 'AMD' | 'other'
  /** Name for people; empty when the kernel gives none. */
  readonly name: string
  readonly family: number
  readonly model: number
  readonly count: number
  readonly flags: ReadonlySet<string>
}

const vendors: Readonly<Record<string, Processor['vendor']>> = {
  GenuineIntel: 'Intel',
  AuthenticAMD: 'AMD',
  // Licensed Zen cores, same virtualization extension.
  HygonGenuine: 'AMD',
}

/** Reads the text of /proc/cpuinfo: of x86, and as far as they say so of Arm, Power and s390. */
export function parseCpuinfo(text: string): Processor {
  const fields = new Map<string, string>()
  let count = 0
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    if (colon < 0) continue
    const key = line.slice(0, colon).trim()
    if (/^processor(\s+\d+)?$/u.test(key)) count++
    if (!fields.has(key)) fields.set(key, line.slice(colon + 1).trim())
  }
  const first = (...keys: string[]) => keys.map((key) => fields.get(key)).find((value) => value) ?? ''
  return {
    vendor: vendors[first('vendor_id')] ?? 'other',
    name: first('model name', 'cpu', 'Model', 'Hardware'),
    family: Number(first('cpu family')) || 0,
    model: Number(first('model')) || 0,
    count,
    flags: new Set(first('flags', 'Features', 'features').split(/\s+/u).filter(Boolean)),
  }
}

export function readProcessor(files: HostFiles): Processor {
  return parseCpuinfo(files.read('/proc/cpuinfo') ?? '')
}

/**
 * Whether the firmware lets the processor run guests: `enabled`, `disabled` (and locked until the next boot),
 * `unlocked` (nobody decided; the kernel will switch it on), or undefined when the registers may not be read.
 */
export type FirmwareSwitch = 'enabled' | 'disabled' | 'unlocked'

const featureControl = 0x3a
const vmCr = 0xc0010114

/** Intel SDM vol. 4, IA32_FEATURE_CONTROL: bit 0 lock, bit 2 VMX outside SMX. */
export function decodeFeatureControl(value: bigint): FirmwareSwitch {
  if ((value & 1n) === 0n) return 'unlocked'
  return (value & 4n) === 0n ? 'disabled' : 'enabled'
}

/** AMD APM vol. 2, 15.30.1 VM_CR: bit 3 lock, bit 4 SVMDIS. */
export function decodeVmCr(value: bigint): FirmwareSwitch {
  if ((value & 16n) === 0n) return 'enabled'
  return (value & 8n) === 0n ? 'unlocked' : 'disabled'
}

/** Reads the register through /dev/cpu/0/msr, which root may where the msr module is there. */
export function readFirmwareSwitch(
  files: HostFiles,
  vendor: Processor['vendor'],
): FirmwareSwitch | undefined {
  if (vendor === 'other') return undefined
  const offset = vendor === 'Intel' ? featureControl : vmCr
  const bytes = files.readBytes('/dev/cpu/0/msr', { offset, length: 8 })
  if (bytes?.length !== 8) return undefined
  const value = bytes.readBigUInt64LE()
  return vendor === 'Intel' ? decodeFeatureControl(value) : decodeVmCr(value)
}

/** Whether a line of the kernel's log says that the firmware switched virtualization off. */
export function saysDisabledByFirmware(log: string): boolean {
  return /(?:kvm|vmx|svm)[^\n]*disabled by bios/iu.test(log)
}
