/** What a definition may set of network cards, screens and single devices; see honoured.ts. */

const of = (kind: string, ...fields: string[]) => fields.map((field) => `devices.${kind}[].${field}`)

export const honouredNetwork: readonly string[] = [
  ...of(
    'interfaces',
    'type=user|network|bridge|ethernet|direct|mcast|server|client|udp|null',
    'mac',
    'link',
    'mtu',
    'bootOrder',
  ),
  ...of('interfaces', 'sourceAddress', 'sourcePort', 'localAddress', 'localPort'),
  ...of('interfaces', 'ips[].family', 'ips[].address', 'ips[].prefix', 'portForwards.*', 'portForwards'),
  ...of(
    'interfaces',
    'backend=default|passt',
    'backendLog',
    'dev',
    'mode=vepa|bridge|private|passthrough',
    'driver=qemu|vhost',
    'sendMode',
    'ioeventfd',
    'eventIndex',
    'queues',
  ),
  ...of('interfaces', 'receiveQueueSize', 'sendQueueSize', 'rss', 'romBar', 'romFile', 'rom'),
  ...of('interfaces', 'hostOffloads.*', 'guestOffloads.*', 'isolated', 'vlanTrunk', 'vlanTags[].*'),
  ...of('interfaces', 'inbound.*', 'outbound.*', 'vlanTags'),
  ...of('interfaces', 'network', 'portGroup', 'model', 'bridge', 'target', 'managedTarget'),
  ...of('interfaces', 'filter', 'filterParameters.*', 'filterParameters'),
]

export const honouredScreens: readonly string[] = [
  ...of('graphics', 'type=vnc|spice|egl-headless|dbus', 'socket', 'keymap', 'port', 'autoport', 'listen'),
  ...of('graphics', 'passwordFile', 'passwordValidTo', 'passwordConnected'),
  ...of('graphics', 'websocket', 'sharePolicy', 'tlsPort', 'defaultMode', 'imageCompression'),
  ...of('graphics', 'jpegCompression', 'zlibCompression', 'playbackCompression', 'streaming', 'clipboard'),
  ...of('graphics', 'mouse', 'fileTransfer', 'gl', 'renderNode', 'audio'),
  ...of('graphics', 'tlsDirectory', 'tlsVerify', 'p2p', 'address', 'channels[].name', 'channels[].mode'),
  ...of('graphics', 'listens[].type=socket|none|address', 'listens[].socket', 'listens[].address'),
  ...of('videos', 'model', 'ramKiB', 'vramKiB', 'vgaMemoryKiB', 'heads', 'primary', 'blob', 'accel3d'),
  ...of('videos', 'width', 'height'),
]

export const honouredSmallDevices: readonly string[] = [
  ...['sounds', 'hubs', 'panics', 'cryptos'].flatMap((kind) => of(kind, '*')),
  ...of('audios', 'id', 'type=none|spice|file', 'path'),
  ...of(
    'watchdogs',
    'model=itco|i6300esb|ib700',
    'action=reset|shutdown|poweroff|pause|none|dump|inject-nmi',
  ),
  ...of('watchdogs', 'alias', 'address.*'),
  ...of('sharedMemories', '*'),
  ...of('hostdevs', 'mode', 'type=usb|pci', 'managed', 'vendor', 'product', 'hostDomain', 'hostBus'),
  ...of('hostdevs', 'hostDevice', 'hostSlot', 'hostFunction', 'bootOrder', 'alias', 'address.*'),
  'devices.vsock.*',
  'devices.iommu.*',
]
