/**
 * Settings of devices that would change nothing: each is refused, since what is set and has no effect deceives
 * whoever has set it.
 */
import type { Devices, Disk } from '../../../model/index.ts'
import { unsupported } from '../definition/unsupported.ts'
import { ofController } from './controller-effects.ts'
import { each, only, type Vain } from './vain-settings.ts'

type One<K extends keyof Devices> = Extract<Devices[K], readonly unknown[]>[number]

/** Fails with `unsupported-config` that names the first one. */
export function checkDeviceEffects(devices: Devices): void {
  each(devices.disks, 'disks', ofDisk)
  each(devices.controllers, 'controllers', ofController)
  each(devices.interfaces, 'interfaces', ofCard)
  each(devices.sounds, 'sounds', ofSound)
  each(devices.videos, 'videos', ofVideo)
  each(devices.hostdevs, 'hostdevs', ofHostDevice)
  each(devices.rngs, 'rngs', ofRandom)
  const { memballoon } = devices
  if (memballoon?.model === 'none')
    for (const key of ['autodeflate', 'freePageReporting', 'statsPeriodSeconds'] as const)
      if (memballoon[key]) throw unsupported(`devices.memballoon.${key}`, "there is no balloon: model 'none'")
}

const web = ['http', 'https', 'ftp', 'ftps']

/** What only some sources have. */
function ofDisk(disk: Disk): Vain[] {
  const { type, protocol = '' } = disk
  const isNetwork = type === 'network'
  const is = (...protocols: string[]) => isNetwork && protocols.includes(protocol)
  return [
    ...only(disk, isNetwork, "type 'network'", ['name', 'hosts', 'protocol']),
    ...only(disk, is('nbd'), "protocol 'nbd'", ['tls', 'tlsHostname', 'tlsDirectory']),
    ...only(disk, is(...web), 'HTTP and FTP', ['query', 'cookies', 'sslVerify', 'readaheadBytes']),
    ...only(disk, is('iscsi', ...web), 'iSCSI, HTTP and FTP', ['timeoutSeconds']),
    ...only(disk, disk.tls === true, 'a connection with TLS', ['tlsDirectory', 'tlsHostname']),
    ...only(disk, type === 'file' || type === 'block', 'files and block devices', ['io']),
    ...disk.hosts.flatMap((one, index) =>
      ofHost(one, protocol).map(([field, why]): Vain => [`hosts[${index}].${field}`, why]),
    ),
    ...only(disk, is('iscsi'), "protocol 'iscsi'", ['initiator']),
    ...only(disk, is('rbd'), "protocol 'rbd'", ['snapshot', 'configFile']),
    ...only(disk, is('nfs'), "protocol 'nfs'", ['user', 'group']),
    ...only(disk, is('ssh'), "protocol 'ssh'", ['sshUser']),
    ...only(disk, is('iscsi', 'rbd', 'ssh', ...web), 'iSCSI, RBD, SSH, HTTP and FTP', ['auth', 'outerAuth']),
    ...only(disk, type === 'nvme', "type 'nvme'", ['namespace', 'managed']),
    ...only(disk, type === 'nvme' || type === 'vhostuser', "types 'nvme' and 'vhostuser'", ['sourceType']),
    ...only(disk, disk.cylinders !== undefined, 'a disk with cylinders', ['heads', 'sectors']),
  ]
}

function ofHost(host: Disk['hosts'][number], protocol: string): Vain[] {
  const { transport = 'tcp' } = host
  const ways: Readonly<Record<string, readonly string[]>> = { unix: ['nbd', 'gluster'], rdma: ['iscsi'] }
  return [
    ...only(host, transport === 'tcp' || ways[transport]?.includes(protocol) === true, 'other protocols', [
      'transport',
    ]),
    ...only(host, transport === 'unix', "transport 'unix'", ['socket']),
  ]
}

function ofCard(card: One<'interfaces'>): Vain[] {
  const { type } = card
  const isSocket = ['mcast', 'server', 'client', 'udp'].includes(type)
  return [
    ...only(card, type === 'network', "type 'network'", ['portGroup']),
    ...only(card, isSocket, "types 'mcast', 'server', 'client' and 'udp'", ['sourceAddress', 'sourcePort']),
    ...only(card, type === 'udp', "type 'udp'", ['localAddress', 'localPort']),
    ...only(card, type === 'vhostuser', "type 'vhostuser'", [
      ...(['sourceType', 'path', 'reconnect', 'reconnectSeconds'] as const),
    ]),
    ...only(card, type === 'ethernet', "type 'ethernet'", ['managedTarget']),
    ...only(card, card.vlanTags.length > 0, 'a card with tags of virtual LANs', ['vlanTrunk']),
  ]
}

const ofSound = (sound: One<'sounds'>): Vain[] =>
  only(sound, sound.model === 'ich6' || sound.model === 'ich9', "models 'ich6' and 'ich9'", ['codecs'])

/** That a card has one head goes without saying. */
function ofVideo(video: One<'videos'>): Vain[] {
  const { model, heads = 1, height, width } = video
  const hasHeads = model === 'virtio' || model === 'qxl'
  return [
    ...(heads > 1 && !hasHeads ? [['heads', `a card of model '${model}' has one only`] as const] : []),
    ...(height !== undefined && width === undefined ? [['height', 'needs a width'] as const] : []),
  ]
}

const ofHostDevice = (one: One<'hostdevs'>): Vain[] => [
  ...only(one, one.type === 'pci', "type 'pci'", ['hostDomain', 'hostSlot', 'hostFunction']),
  ...only(one, one.type === 'usb', "type 'usb'", ['vendor', 'product', 'hostDevice']),
  ...only(one, one.type === 'mdev', "type 'mdev'", ['uuid', 'model', 'display', 'ramfb']),
  ...only(one, one.type === 'scsi', "type 'scsi'", ['protocol', 'readonly', 'shareable']),
  ...only(one, one.protocol === 'iscsi', "protocol 'iscsi'", ['name', 'hosts']),
  ...only(one, one.type === 'scsi' && one.protocol === undefined, "type 'scsi' without a server", [
    ...(['adapter', 'hostTarget', 'hostUnit'] as const),
  ]),
  ...only(one, one.protocol === undefined && one.type !== 'mdev', 'a device with an address', ['hostBus']),
]

const ofRandom = (one: One<'rngs'>): Vain[] => [
  ...only(one, one.backend === 'random', "backend 'random'", ['source']),
  ...only(one, one.rateBytes !== undefined, 'a limited rate', ['ratePeriodMs']),
]
