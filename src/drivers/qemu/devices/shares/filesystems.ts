/**
 * Folders of the host that the guest sees, as parts of QEMU: served by QEMU itself (9p), or by a program beside it
 * (virtiofs). Source: qemu(1), -fsdev and -device virtio-9p-pci; QEMU's docs/system/devices/vhost-user.rst.
 */
import type { FileAccess } from '../../../../host/index.ts'
import { type DomainDefinition, type Filesystem, VisorError } from '../../../../model/index.ts'
import { type Fields, keyValue } from '../../definition/key-value.ts'
import { atStart, chardev, device, type Part } from '../../definition/parts.ts'
import { noDevice } from '../../definition/unknown-name.ts'
import { unsupported } from '../../definition/unsupported.ts'
import { virtioName, virtioOptions } from '../../disks/disk-device.ts'
import type { Emulator } from '../../emulator/emulator.ts'
import { type Place, pci } from '../device-place.ts'

/** Fails with `unsupported-config` for what cannot be shared so. */
export function checkFilesystems(definition: DomainDefinition, emulator: Emulator): void {
  const { filesystems } = definition.devices
  for (const [index, one] of filesystems.entries()) {
    const path = `devices.filesystems[${index}]`
    checkFilesystem(one, path)
    const driver = isVirtiofs(one) ? 'vhost-user-fs-pci' : virtioName('virtio-9p', one.model)
    if (!emulator.devices.includes(driver)) throw noDevice(`${path}.driver`, driver, emulator)
    // Linux looks at the first of a name only.
    if (filesystems.findIndex(({ target }) => target === one.target) < index)
      throw new VisorError('invalid-definition', `Two shares are called '${one.target}'.`, {
        path: `${path}.target`,
        remedy: 'Give each a name of its own, by which the guest mounts it.',
      })
  }
}

/** Whether a program beside QEMU serves it. */
export const isVirtiofs = ({ driver }: Pick<Filesystem, 'driver'>): boolean => driver === 'virtiofs'

/** The longest names: QEMU's hw/9pfs (MAX_TAG_LEN), and the virtio specification, section 5.11.4. */
const longestTag = { path: 31, virtiofs: 36 } as const

function checkFilesystem(one: Filesystem, path: string): void {
  const { type, target, driver = 'path' } = one
  if (type !== 'mount') throw unsupported(`${path}.type`, `'${type}' is not of machines`, "Use 'mount'.")
  if (driver !== 'path' && driver !== 'virtiofs')
    throw unsupported(`${path}.driver`, `'${driver}' cannot be had`, "Use 'virtiofs', or 'path' (9p).")
  if (Buffer.byteLength(target) > longestTag[driver])
    throw unsupported(
      `${path}.target`,
      `the name of a share by ${driver === 'path' ? '9p' : driver} can have at most ${longestTag[driver]} bytes`,
      'Choose a shorter one.',
    )
  if (driver === 'virtiofs') checkVirtiofs(one, path)
  else checkNinep(one, path)
}

const ofVirtiofs = [
  ...(['binary', 'cache', 'sandbox', 'queueSize', 'socket', 'threads', 'openFiles'] as const),
  ...(['extendedAttributes', 'posixLocks', 'flock'] as const),
] as const

function checkNinep(one: Filesystem, path: string): void {
  const { source, accessMode, fileMode, directoryMode } = one
  if (source === undefined) throw unsupported(path, 'needs a folder of the host: source')
  if ((fileMode ?? directoryMode) !== undefined && accessMode !== 'mapped')
    throw unsupported(`${path}.fileMode`, "is of the access mode 'mapped'")
  for (const word of ofVirtiofs)
    if (one[word] !== undefined) throw unsupported(`${path}.${word}`, "is of the driver 'virtiofs'")
}

function checkVirtiofs(one: Filesystem, path: string): void {
  const { source, socket, accessMode, model = 'virtio', queueSize, readonly } = one
  if (accessMode !== 'passthrough')
    throw unsupported(`${path}.accessMode`, `'${accessMode}' is of 9p`, "Use 'passthrough'.")
  if (model === 'virtio-transitional')
    throw unsupported(`${path}.model`, "virtiofs has no 'virtio-transitional'", "Use 'virtio'.")
  for (const word of ['multiDevs', 'fileMode', 'directoryMode', 'writePolicy'] as const)
    if (one[word] !== undefined) throw unsupported(`${path}.${word}`, "is of the driver 'path' (9p)")
  if (queueSize !== undefined && (queueSize & (queueSize - 1)) !== 0)
    throw unsupported(`${path}.queueSize`, 'must be a power of two')
  if ((source === undefined) === (socket === undefined))
    throw unsupported(path, 'needs either a folder of the host (source) or the socket of who serves it')
  if (socket === undefined) return
  const ofProgram = ofVirtiofs.filter((word) => word !== 'socket' && word !== 'queueSize')
  for (const word of ofProgram)
    if (one[word] !== undefined)
      throw unsupported(`${path}.${word}`, 'is up to the program at the socket', 'Set it there.')
  if (readonly)
    throw unsupported(`${path}.readonly`, 'is up to the program at the socket', 'Have that refuse to write.')
}

/**
 * Fails with `unsupported-config` for what 9p can do as root only: who is not cannot give files their owners, and is
 * refused each file it makes.
 */
export function checkOwners({ devices }: DomainDefinition, isRoot: boolean): void {
  const index = devices.filesystems.findIndex(
    (one) => !isVirtiofs(one) && one.accessMode === 'passthrough' && !one.readonly,
  )
  if (index >= 0 && !isRoot)
    throw unsupported(
      `devices.filesystems[${index}].accessMode`,
      "'passthrough' keeps the owners of files, which QEMU, not being root, cannot: the guest could make no file",
      "Use the driver 'virtiofs'; or 'mapped', which notes owners beside the files, 'squash', where all files are of the guest's own user, or 'readonly'.",
    )
}

/** What QEMU opens of it by itself. */
export function filesOfShare(one: Filesystem): FileAccess[] {
  const { source, socket, readonly } = one
  if (isVirtiofs(one)) return socket === undefined ? [] : [{ path: socket, write: true, what: 'socket' }]
  return source === undefined
    ? []
    : [{ path: source, write: !readonly, execute: true, what: 'shared folder' }]
}

const securityModels = { passthrough: 'passthrough', mapped: 'mapped-xattr', squash: 'none' } as const

export function filesystemParts(one: Filesystem, place: Place): Part[] {
  return isVirtiofs(one) ? virtiofsParts(one, place) : ninepParts(one, place)
}

function ninepParts(one: Filesystem, place: Place): Part[] {
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

function virtiofsParts(one: Filesystem, place: Place): Part[] {
  const { alias = '', socket, target, queueSize } = one
  const id = `chr${alias}`
  return [
    // The monitor would have QEMU listen, where the command line would not.
    chardev('socket', { id, path: socket ?? place.paths.share(alias), server: false }),
    device('vhost-user-fs-pci', {
      id: alias,
      chardev: id,
      'queue-size': queueSize,
      tag: target,
      ...virtioOptions(one),
      ...pci(one.address, place),
    }),
  ]
}
