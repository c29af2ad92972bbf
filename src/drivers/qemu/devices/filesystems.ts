/** Folders of the host that the guest sees, as parts of QEMU. Source: qemu(1), -fsdev and -device virtio-9p-pci. */
import type { Devices, Filesystem } from '../../../model/index.ts'
import { type Fields, keyValue } from '../definition/key-value.ts'
import { atStart, device, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { virtioName, virtioOptions } from '../disks/disk-device.ts'
import { type Place, pci } from './device-place.ts'

/** Fails with `unsupported-config` for what cannot be shared so. */
export function checkFilesystems({ filesystems }: Pick<Devices, 'filesystems'>): void {
  for (const [index, one] of filesystems.entries()) checkFilesystem(one, `devices.filesystems[${index}]`)
}

/** The longest name of a 9p share. Source: QEMU's hw/9pfs, MAX_TAG_LEN. */
const longestTag = 31

function checkFilesystem(one: Filesystem, path: string): void {
  const { type, source, target, accessMode, fileMode, directoryMode, driver = 'path' } = one
  if (type !== 'mount') throw unsupported(`${path}.type`, `'${type}' is not of machines`, "Use 'mount'.")
  if (driver !== 'path') throw unsupported(`${path}.driver`, `'${driver}' cannot be had`, "Use 'path' (9p).")
  if (source === undefined) throw unsupported(path, 'needs a folder of the host: source')
  if (Buffer.byteLength(target) > longestTag)
    throw unsupported(`${path}.target`, `can have at most ${longestTag} bytes`)
  if ((fileMode ?? directoryMode) !== undefined && accessMode !== 'mapped')
    throw unsupported(`${path}.fileMode`, "is of the access mode 'mapped'")
  const words = ['binary', 'cache', 'sandbox', 'queueSize', 'socket', 'threads', 'openFiles'] as const
  for (const word of [...words, 'extendedAttributes', 'posixLocks', 'flock'] as const)
    if (one[word] !== undefined) throw unsupported(`${path}.${word}`, "is of the driver 'virtiofs'")
}

const securityModels = { passthrough: 'passthrough', mapped: 'mapped-xattr', squash: 'none' } as const

export function filesystemParts(one: Filesystem, place: Place): Part[] {
  const id = `fsdev-${one.alias}`
  const fields: Fields = {
    id,
    path: one.source,
    security_model: securityModels[one.accessMode],
    multidevs: one.multiDevs === 'default' ? undefined : one.multiDevs,
    fmode: one.fileMode,
    dmode: one.directoryMode,
    writeout: one.writePolicy,
    readonly: one.readonly ? true : undefined,
  }
  return [
    // A machine that runs cannot be given another: its monitor has no command for it.
    atStart('-fsdev', keyValue('local', fields)),
    device(virtioName('virtio-9p', one.model), {
      id: one.alias,
      fsdev: id,
      mount_tag: one.target,
      ...virtioOptions(one),
      ...pci(one.address, place),
    }),
  ]
}
