/** Looks at everything a machine needs from the host before anything is started. */
import { access, constants, stat } from 'node:fs/promises'
import { checkSocketPath } from '../../../host/index.ts'
import { type Disk, VisorError } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { hostDeviceFiles } from '../devices/host-devices.ts'
import { filesOfPort, type Port, portsOf } from '../devices/ports/ports.ts'
import { filesOfSmartcards } from '../devices/ports/smartcards.ts'
import { checkScreens } from '../devices/screens/screen-host.ts'
import { filesOfTpm } from '../devices/tpm.ts'
import { cannotOpen, type DiskImage, readMedium } from '../disks/disk-image.ts'
import { givenSecretFiles } from '../disks/disk-secrets.ts'
import { isWritten } from '../disks/disks.ts'
import { filesOfUserNetwork } from '../network/user-network.ts'
import { checkVhostUserSocket } from '../network/vhost-user.ts'
import type { GuestPaths } from '../paths.ts'

/** The images of a machine's disks, by the alias of the disk; a drive without medium has none. */
export type DiskImages = ReadonlyMap<string, DiskImage>

/** Fails as {@link readMedium} does, for whatever is missing. */
export async function preflight(definition: CompleteDefinition, paths: GuestPaths): Promise<DiskImages> {
  const { os, devices } = definition
  checkSocketPath(paths.longestSocket(definition))
  const [images] = await Promise.all([
    Promise.all(devices.disks.map(readDisk)),
    os.kernel ? checkFile(os.kernel, 'kernel') : undefined,
    os.initrd ? checkFile(os.initrd, 'initial RAM disk') : undefined,
    ...boardFiles(definition).map((path) => checkReadable(path, 'file of the machine')),
    ...portsOf(devices).map(checkHostSide),
    ...devices.interfaces.map(checkVhostUserSocket),
    ...devices.interfaces.flatMap(filesOfUserNetwork).map(({ path }) => checkFolder(path, 'folder of TFTP')),
    checkScreens(devices),
    hostDeviceFiles(devices),
    ...devices.filesystems.map(({ source }) => (source ? checkFolder(source) : undefined)),
    ...filesOfSmartcards(devices).map(({ path, what }) =>
      checkReadable(path, what ?? 'file', `Make it: 'certutil -N -d sql:${path}'.`),
    ),
    ...devices.tpms
      .flatMap(filesOfTpm)
      .map(({ path, what }) => checkReadable(path, `${what} of the TPM`, missingTpm[what ?? ''])),
    ...devices.inputs
      .flatMap(({ hostDevice, eventDevice }) => hostDevice ?? eventDevice ?? [])
      .map((path) => checkReadable(path, 'input device')),
    ...devices.rngs.map(({ source }) => (source ? checkReadable(source, 'source of randomness') : undefined)),
    ...devices.rngs.map(({ daemonPath }) => (daemonPath ? checkReadable(daemonPath, 'socket') : undefined)),
  ])
  return new Map(images.filter((entry) => entry !== undefined))
}

/** Files of the firmware's and about the machine that QEMU reads. */
function boardFiles({ os, sysinfo }: CompleteDefinition): string[] {
  const given = sysinfo.flatMap(({ files }) => files.map(({ file }) => file))
  return [os.loader, os.deviceTree, os.acpiTable, ...given].filter((path) => path !== undefined)
}

async function readDisk(disk: Disk): Promise<[string, DiskImage] | undefined> {
  const image = await readMedium(disk).catch((error: unknown) => {
    // The drive stays empty, and a disk that may be missing is left out.
    if (disk.startupPolicy === 'optional' && error instanceof VisorError && error.code === 'not-found')
      return undefined
    throw error
  })
  if (!image) return undefined
  await Promise.all([
    ...givenSecretFiles(disk).map((path) => checkFile(path, 'secret')),
    ...chainOf(image).flatMap(({ extents = [] }) => extents.map((path) => checkReadable(path, 'disk image'))),
  ])
  if (!image.source && isWritten(disk) && !disk.transient)
    await access(image.path, constants.W_OK).catch((cause) => {
      throw cannotOpen(image.path, cause, 'disk image')
    })
  return [disk.alias ?? disk.target, image]
}

/** An image and all it is based on. */
export function chainOf(image: DiskImage): DiskImage[] {
  return image.backing ? [image, ...chainOf(image.backing)] : [image]
}

/** What a port needs to be there. */
async function checkHostSide(port: Port): Promise<void> {
  const { type, path, mode, tls, reconnect } = port
  const notA = (what: string) => cannotOpen(path ?? '', new Error(`it is no ${what}`), 'host side of a port')
  if (type === 'tcp' && tls)
    for (const one of filesOfPort({ ...port, logFile: undefined })) await checkFile(one.path, 'certificate')
  if (path === undefined) return
  if (type === 'dev') {
    await checkReadable(path, 'device')
    if (!(await stat(path)).isCharacterDevice()) throw notA('character device')
  }
  if (type === 'pipe') await checkPipe(path)
  if (type === 'unix' && mode === 'connect' && !reconnect) {
    await checkReadable(path, 'socket')
    if (!(await stat(path)).isSocket()) throw notA('socket')
  }
}

/** QEMU takes two pipes, `PATH.in` and `PATH.out`, or else the one at the path; anything else may stop it for ever. */
async function checkPipe(path: string): Promise<void> {
  const isPipe = async (file: string) => (await stat(file).catch(() => undefined))?.isFIFO() === true
  const both = (await isPipe(`${path}.in`)) && (await isPipe(`${path}.out`))
  if (!both && !(await isPipe(path)))
    throw new VisorError('not-found', `There is no pipe '${path}', and no '${path}.in' with '${path}.out'.`, {
      remedy: 'Make it: mkfifo.',
    })
}

async function checkFile(path: string, what: string): Promise<void> {
  await checkReadable(path, what)
  if (!(await stat(path)).isFile()) throw cannotOpen(path, new Error('it is not a file'), what)
}

async function checkFolder(path: string, what = 'shared folder'): Promise<void> {
  await checkReadable(path, what)
  if (!(await stat(path)).isDirectory()) throw cannotOpen(path, new Error('it is no folder'), what)
}

const missingTpm: Readonly<Record<string, string>> = {
  device: "Load the driver of the host's module (tpm_tis, tpm_crb), or use the backend 'emulator'.",
  socket: "Start what serves it ('swtpm socket'), or use the backend 'emulator'.",
}

/** `remedy` is for a file that is not there. */
async function checkReadable(path: string, what: string, remedy?: string): Promise<void> {
  await access(path, constants.R_OK).catch((cause) => {
    const error = cannotOpen(path, cause, what)
    if (remedy === undefined || error.code !== 'not-found') throw error
    throw new VisorError('not-found', error.message, { cause, remedy })
  })
}
