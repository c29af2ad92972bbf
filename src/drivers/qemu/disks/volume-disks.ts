/** Disks that are volumes of pools: where they are is asked when a machine gets them, and written down for its run. */
import type { GuestStorage, VolumeAccess } from '../../../driver/index.ts'
import { type Disk, diskFormats } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { unsupported } from '../definition/unsupported.ts'

type WithStorage = Pick<Context, 'storage'>

/** The definition with the places of its volumes. Fails as {@link GuestStorage.access} does. */
export async function locateVolumes(
  context: WithStorage,
  definition: CompleteDefinition,
): Promise<CompleteDefinition> {
  const { disks } = definition.devices
  if (!disks.some(({ type }) => type === 'volume')) return definition
  const located: Disk[] = []
  for (const disk of disks) located.push(await locateVolume(context, disk))
  return { ...definition, devices: { ...definition.devices, disks: located } }
}

/** The same disk, as a file, a device or an address of a server when it is a volume. */
export async function locateVolume({ storage }: WithStorage, disk: Disk): Promise<Disk> {
  const { pool, volume, poolMode: _, ...rest } = disk
  if (disk.type !== 'volume') return disk
  if (!storage || pool === undefined || volume === undefined)
    throw unsupported(
      'devices.disks',
      'there is no storage that volumes could be in',
      'Name the file of the disk.',
    )
  return { ...rest, ...placeOf(await storage.access(pool, volume), disk) }
}

/** What the definition says of the format goes first; 'raw' is what is said when nothing is. */
function placeOf(
  access: VolumeAccess,
  { format, encryption = undefined }: Disk,
): Partial<Disk> & Pick<Disk, 'type'> {
  const known = diskFormats.find((one) => one === access.format)
  const whole = {
    format: format === 'raw' && known ? known : format,
    ...(!encryption && access.encryption && { encryption: lockedBy(access.encryption.secret) }),
  }
  if (access.type === 'network') {
    const { protocol, name, hosts, initiator, auth } = access
    return {
      ...whole,
      ...{ type: 'network', protocol, name, hosts: hosts.map((host) => ({ ...host })) },
      ...(initiator === undefined ? {} : { initiator }),
      ...(auth && {
        auth: { username: auth.username, secret: { type: loginType(protocol), ...auth.secret } },
      }),
    }
  }
  const { type, path } = access
  if (type === 'directory') return { ...whole, type: 'dir', directory: path }
  return type === 'file' ? { ...whole, type, file: path } : { ...whole, type, block: path }
}

/** What the secret of a login is for. */
const loginType = (protocol: string) => (protocol === 'rbd' ? 'ceph' : 'iscsi')

/** As a volume was encrypted by visor. */
const lockedBy = (uuid: string): NonNullable<Disk['encryption']> => ({
  format: 'luks',
  secrets: [{ type: 'passphrase', uuid }],
})
