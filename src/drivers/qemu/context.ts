/** What the parts of an open driver share. */
import type { Log, OpenOptions, Store } from '../../driver/index.ts'
import type { CgroupHierarchy } from '../../host/index.ts'
import type { Emulator } from './emulator/emulator.ts'
import type { KvmState } from './emulator/kvm.ts'
import type { Confinement } from './machine/confinement.ts'
import type { Hooks } from './machine/hooks.ts'
import type { DriverPaths } from './paths.ts'

export interface Context {
  /** Tells the guests of this daemon from those of others that use the same runtime directory. */
  readonly owner: string
  readonly paths: DriverPaths
  readonly store: Store
  readonly log: Log
  readonly cgroups: readonly CgroupHierarchy[]
  /** Disks that templates keep as they are, and what these are based on, with the name of the template. */
  readonly frozen: Map<string, string>
  /** Files that linked copies are based on, by the uuid of the copy. */
  readonly linked: Map<string, readonly string[]>
  readonly confinement: Confinement
  readonly hooks: Hooks
  readonly networks: OpenOptions['networks']
  readonly storage: OpenOptions['storage']
  readonly connect: OpenOptions['connect']
  readonly migration: NonNullable<OpenOptions['migration']>
  /** The emulator for an architecture or a program; undefined when there is none. */
  findEmulator(arch: string, path?: string): Promise<Emulator | undefined>
  kvm(emulator: Emulator): Promise<KvmState>
}
