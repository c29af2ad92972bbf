import { statSync } from 'node:fs'

/** The group that may use KVM; none where the device is root's alone, or open to all. */
export function kvmGroup(): number | undefined {
  try {
    const { gid, mode } = statSync('/dev/kvm')
    return gid !== 0 && (mode & 0o060) === 0o060 && (mode & 0o006) !== 0o006 ? gid : undefined
  } catch {
    return undefined
  }
}
