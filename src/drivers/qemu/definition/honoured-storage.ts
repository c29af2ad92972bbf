/** What a definition may set of disks, controllers and shared folders; see `checkHonoured`. */

const disk = [
  'type=file|block|dir|network|volume|nvme|vhostuser',
  ...['device', 'model', 'driver', 'format', 'cache', 'errorPolicy', 'readErrorPolicy', 'io', 'ioEventFd'],
  ...['eventIndex', 'copyOnRead', 'discard', 'ioThread', 'detectZeroes', 'discardNoUnref', 'queues'],
  ...['queueSize', 'iommu', 'ats', 'packed', 'pagePerVq', 'metadataCacheBytes', 'outerAuth.*'],
  ...['file', 'block', 'directory', 'protocol', 'name', 'query', 'tls', 'tlsHostname', 'tlsDirectory'],
  ...[
    'pool',
    'volume',
    'poolMode',
    'sourceType',
    'socket',
    'managed',
    'namespace',
    'nvmeAddress.*',
    'startupPolicy',
    'hosts[].*',
  ],
  ...['snapshot', 'configFile', 'initiator', 'cookies[].*', 'sslVerify', 'readaheadBytes'],
  ...['timeoutSeconds', 'user', 'group', 'sshUser', 'slice.*', 'auth.*', 'encryption.*', 'backingStore.*'],
  ...['target', 'bus', 'removable', 'rotationRate', 'cylinders', 'heads', 'sectors', 'translation'],
  ...['logicalBlockBytes', 'physicalBlockBytes', 'discardGranularityBytes', 'throttle.*', 'readonly'],
  ...['shareable', 'transient', 'serial', 'wwn', 'vendor', 'product', 'outerEncryption.*', 'bootOrder'],
]

const controller = [
  'type',
  ...['index', 'model', 'modelName', 'ports', 'vectors', 'queues', 'commandsPerLun', 'maxSectors'],
  ...['ioEventFd', 'ioThread', 'iommu', 'ats', 'packed', 'pagePerVq', 'chassisNr', 'chassis', 'port'],
  ...['busNr', 'hotplug', 'node', 'serial', 'startPort', 'pciHole64KiB'],
]

const filesystem = [
  ...['type=mount', 'accessMode', 'model', 'multiDevs', 'fileMode', 'directoryMode'],
  ...['driver=path|virtiofs', 'writePolicy', 'iommu', 'ats', 'packed', 'pagePerVq', 'source', 'target'],
  ...['readonly', 'queueSize', 'binary', 'extendedAttributes', 'cache', 'sandbox', 'posixLocks', 'flock'],
  ...['threads', 'openFiles', 'socket'],
]

const below = (list: string, fields: readonly string[]) =>
  [...fields, 'alias', 'address.*'].map((field) => `devices.${list}[].${field}`)

export const honouredStorage: readonly string[] = [
  ...below('disks', disk),
  ...below('controllers', controller),
  ...below('filesystems', filesystem),
]
