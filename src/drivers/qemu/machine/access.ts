/**
 * The files that QEMU opens by itself, and how it is let at them.
 *
 * Whoever makes QEMU open another file (hot-plug, a block job, a snapshot, the socket of a process beside it) calls
 * {@link grantAccess} first; what is granted ends with the guest, also when visord is killed meanwhile.
 */
import { lchown } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { FileAccess } from '../../../host/index.ts'
import type { Disk } from '../../../model/index.ts'
import { hasVariables, variablesFile } from '../board/firmware.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { filesOfDevices } from '../devices/complete-small-devices.ts'
import { filesOfPort, isBound, loggedPorts, logOf, portsOf } from '../devices/ports/ports.ts'
import { filesOfSmartcards } from '../devices/ports/smartcards.ts'
import { filesOfScreen } from '../devices/screens/screen-host.ts'
import { filesOfShare } from '../devices/shares/filesystems.ts'
import { filesOfTpm } from '../devices/tpm.ts'
import type { DiskImage } from '../disks/disk-image.ts'
import { cookieFile, namedSources, secretFiles } from '../disks/disk-secrets.ts'
import type { Source } from '../disks/disk-source.ts'
import { isWritten } from '../disks/disks.ts'
import { filesOfUserNetwork } from '../network/user-network.ts'
import { filesOfVhostUser } from '../network/vhost-user.ts'
import type { GuestPaths } from '../paths.ts'
import type { Machine } from './machine.ts'
import type { DiskImages } from './preflight.ts'

/**
 * Lets the QEMU of a running machine at `files`, for as long as it runs or until {@link revokeAccess}; costs
 * nothing where it may anyway. A file must be there: QEMU can make none outside of its own folder
 * (`GuestPaths.folder`), unless the folder itself is granted with `folder: true`.
 * Fails with `not-found`, or `denied` naming the component of the path that would refuse. Resolves with what takes
 * back what was given by this alone.
 */
export function grantAccess(
  { guest }: Pick<Machine, 'guest'>,
  files: readonly FileAccess[],
): Promise<() => Promise<void>> {
  return guest.grant(files)
}

/** The machine needs these files no more, such as a disk that was unplugged. */
export function revokeAccess({ guest }: Pick<Machine, 'guest'>, paths: readonly string[]): Promise<void> {
  return guest.revoke(paths)
}

/** A socket or file that we made for QEMU belongs to its user from now on; only for what stands in a folder of ours. */
export async function giveTo({ guest }: Pick<Machine, 'guest'>, path: string): Promise<void> {
  if (guest.user) await lchown(path, guest.user.uid, guest.user.gid)
}

/** An image with all it is based on; only the image itself is ever written. */
export function filesOfImage(image: DiskImage, { write }: { readonly write: boolean }): FileAccess[] {
  const { path, backing, source, extents = [] } = image
  const what = 'disk image'
  return [
    ...(source ? filesOfSource(source) : [path, ...extents].map((one) => ({ path: one, write, what }))),
    ...(backing ? filesOfImage(backing, { write: false }) : []),
  ]
}

/** Secrets, certificates, sockets and folders that QEMU opens for a source that is no file. */
function filesOfSource(source: Source): FileAccess[] {
  const { hosts, configFile, tls, tlsDirectory, directory } = source
  return [
    ...hosts.flatMap(({ socket }) => (socket ? [{ path: socket, write: true, what: 'socket' }] : [])),
    ...(configFile ? [{ path: configFile, what: 'configuration' }] : []),
    ...(tls && tlsDirectory
      ? ['ca-cert.pem', 'client-cert.pem', 'client-key.pem'].map((name) => ({
          path: join(tlsDirectory, name),
          what: 'certificate',
        }))
      : []),
    ...(directory ? [{ path: directory, what: 'folder' }] : []),
  ]
}

function filesOfDisk(disk: Disk, image: DiskImage | undefined, paths: GuestPaths): FileAccess[] {
  if (disk.type === 'vhostuser')
    return disk.socket ? [{ path: disk.socket, write: true, what: 'socket' }] : []
  if (!image) return []
  const secrets = secretFiles(disk, paths).map((path) => ({ path, what: 'secret' }))
  const cookies = namedSources(disk).flatMap(({ name, source }) =>
    source.cookies.length > 0 ? [{ path: paths.secret(cookieFile(name)), what: 'cookies' }] : [],
  )
  return [...filesOfImage(image, { write: isWritten(disk) }), ...secrets, ...cookies]
}

function filesOfBoard(definition: CompleteDefinition, paths: GuestPaths): FileAccess[] {
  const { os, sysinfo, devices } = definition
  const { loader, loaderReadonly, deviceTree, acpiTable } = os
  return [
    ...(loader ? [{ path: loader, write: loaderReadonly === false, what: 'firmware' }] : []),
    ...(hasVariables(definition)
      ? [{ path: variablesFile(definition, paths), write: true, what: 'file of firmware variables' }]
      : []),
    ...[deviceTree, acpiTable, ...sysinfo.flatMap(({ files }) => files.map(({ file }) => file))].flatMap(
      (path) => (path ? [{ path, what: 'file of the machine' }] : []),
    ),
    ...devices.memories.flatMap(({ path }) =>
      path ? [{ path, write: true, what: 'module of memory' }] : [],
    ),
    ...devices.tpms.flatMap(filesOfTpm),
    ...filesOfSmartcards(devices),
  ]
}

/** What QEMU opens at its start. A new kind of device that opens files has its line here. */
export function filesAtStart(
  definition: CompleteDefinition,
  images: DiskImages,
  paths: GuestPaths,
): FileAccess[] {
  const { type, os, devices } = definition
  const { disks, rngs, graphics } = devices
  const ports = portsOf(devices)
  const sockets = [
    ...ports.map((port) => (port.type === 'unix' && isBound(port) ? port.path : undefined)),
    ...graphics.map(({ socket, listens }) => socket ?? listens[0]?.socket),
  ]
  return [
    ...(type === 'kvm' ? [{ path: '/dev/kvm', write: true, what: 'device' }] : []),
    ...[os.kernel, os.initrd].flatMap((path) => (path ? [{ path, what: 'kernel' }] : [])),
    ...filesOfBoard(definition, paths),
    ...disks.flatMap((disk) => filesOfDisk(disk, images.get(disk.alias ?? disk.target), paths)),
    ...devices.filesystems.flatMap(filesOfShare),
    ...rngs.flatMap(({ source, backend }) =>
      source && backend !== 'builtin' ? [{ path: source, what: 'source of randomness' }] : [],
    ),
    ...rngs.flatMap(({ daemonPath }) =>
      daemonPath === undefined ? [] : [{ path: daemonPath, write: true, what: 'socket' }],
    ),
    ...loggedPorts(devices).map((port) => ({ path: logOf(port, paths), write: true, what: 'log' })),
    ...ports.flatMap(filesOfPort),
    ...graphics.flatMap(filesOfScreen),
    ...filesOfDevices(devices),
    ...devices.interfaces.flatMap((one) => [...filesOfVhostUser(one), ...filesOfUserNetwork(one)]),
    ...sockets.flatMap((path) =>
      path ? [{ path: dirname(path), folder: true, what: 'folder of a socket' }] : [],
    ),
  ]
}
