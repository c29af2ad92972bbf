export * from './bridge-port.ts'
export * from './cgroup.ts'
export { type CgroupLimits, type IoDeviceLimits, passOnControllers } from './cgroup-limits.ts'
export type { ThreadGroup } from './cgroup-threads.ts'
export * from './console-log.ts'
export * from './console-viewer.ts'
export { readParts } from './content/read-parts.ts'
export { writeParts } from './content/write-parts.ts'
export * from './directories.ts'
export * from './disk-images/index.ts'
export * from './ends-with-us.ts'
export * from './facts/index.ts'
export * from './file-access.ts'
export * from './files.ts'
export * from './guest-process.ts'
export * from './hash.ts'
export * from './knock.ts'
export { liftMemoryLock, type ProcessLimits } from './limits.ts'
export * from './link-coalescing.ts'
export * from './link-limits.ts'
export * from './mac-address.ts'
export * from './macvtap.ts'
export {
  addBridge,
  bringUp,
  changeElements,
  type ElementChange,
  type ElementPart,
  hasTable,
  listLinks,
  listRoutes,
  mainTable,
  mostElementsAtOnce,
  type NamedLimit,
  openSockets,
  readGeneration,
  type SetElement,
} from './netlink/index.ts'
export * from './packets.ts'
export * from './passt.ts'
export * from './png.ts'
export type { FileUser } from './posix-acl.ts'
export * from './presence.ts'
export * from './process.ts'
export * from './programs.ts'
export * from './read-only-folder.ts'
export { sha512Crypt } from './sha512-crypt.ts'
export * from './sparse-file.ts'
export * from './store.ts'
export * from './syscall.ts'
export * from './tap.ts'
export * from './terminal-queries.ts'
export * from './thread-scheduling.ts'
export * from './undo.ts'
