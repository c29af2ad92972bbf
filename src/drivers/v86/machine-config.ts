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
  readonly cable: Cable
}

export type Cable =
  /** Number of the open file of a link of the host. */
  | { readonly tap: number }
  /** A program that gets the other end as its file 3, and ends when ours is closed. */
  | { readonly program: string; readonly args: readonly string[] }

export interface MachineDisk {
  readonly slot: DiskSlot
  readonly file: string
  readonly readonly: boolean
  /** Each write is on the disk before the guest goes on. */
  readonly sync: boolean
}
