import type { DiskSlot } from './definition.ts'

/** All that a machine's process needs to know; it reads this from a file in its directory. */
export interface MachineConfig {
  readonly memoryBytes: number
  readonly videoMemoryBytes: number
  readonly acpi: boolean
  readonly bios: string
  readonly vgaBios: string
  readonly kernel?: string
  readonly initrd?: string
  readonly commandLine?: string
  readonly bootOrder: number
  readonly disks: readonly MachineDisk[]
  /** Files that the serial ports print to. */
  readonly serialLogs: readonly string[]
  readonly card?: CardConfig
  readonly onPoweroff: 'destroy' | 'restart'
  readonly onReboot: 'destroy' | 'restart'
  /** A saved state to go on from. */
  readonly restore?: string
  readonly paused: boolean
}

export interface CardConfig {
  readonly mac: string
  /** Number of the open file of its link. */
  readonly tap: number
}

export interface MachineDisk {
  readonly slot: DiskSlot
  readonly file: string
  readonly readonly: boolean
  /** Each write is on the disk before the guest goes on. */
  readonly sync: boolean
}
