/**
 * Where a disk's content comes from. Source: libvirt's "Domain XML format", disk source; the elements stand in
 * the order of its output.
 */
import { aNumber, oneWord, path, unknown } from '../domain-words.ts'
import * as s from '../schema.ts'

const printable = {
  pattern: /^[^\p{Cc}]+$/u,
  patternName: 'a text without control characters',
  maxLength: 4095,
} as const

/** The formats that libvirt and QEMU know; `luks` for an encrypted raw image is said by its encryption. */
export const diskFormats = [
  ...([
    'raw',
    'qcow2',
    'qcow',
    'qed',
    'vmdk',
    'vdi',
    'vpc',
    'vhd',
    'vhdx',
    'ploop',
    'bochs',
    'cloop',
  ] as const),
  ...(['dmg', 'fat', 'iso'] as const),
] as const

export const DiskSecret = s.object('DiskSecret', 'A secret that unlocks a disk or its server', {
  type: s.choice('what it is for', ['passphrase', 'iscsi', 'ceph', 'volume'], { xml: '@type' }),
  uuid: s.string('secret of that uuid', {
    xml: '@uuid',
    optional: true,
    normalize: 'uuid',
    pattern: /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u,
    patternName: 'a uuid',
  }),
  usage: s.string('secret of that usage', { xml: '@usage', optional: true, ...printable }),
  file: path('file on the host that holds it, every byte of it', { xml: '@file', optional: true }),
  unknown,
})

export const DiskAuth = s.object('DiskAuth', 'A user of the storage server and the secret of that user', {
  username: s.string('name of the user', { xml: '@username', ...printable }),
  secret: s.field(DiskSecret, { xml: 'secret', optional: true }),
  unknown,
})

export const DiskEncryption = s.object('DiskEncryption', 'Encryption of the image', {
  format: s.choice('kind of encryption', ['default', 'qcow', 'luks', 'luks2'], { xml: '@format' }),
  engine: s.choice('who does it', ['qemu', 'librbd'], { xml: '@engine', optional: true }),
  secrets: s.array('what unlocks it', DiskSecret, { xml: 'secret', default: [], maxItems: 8 }),
  unknown,
})

export const DiskHost = s.object('DiskHost', 'A server of the storage', {
  transport: s.choice('kind of connection', ['tcp', 'rdma', 'unix'], {
    xml: '@transport',
    optional: true,
  }),
  name: s.string('name or IP address', {
    xml: '@name',
    optional: true,
    maxLength: 255,
    pattern: /^[\w.:%\-[\]]+$/u,
    patternName: 'a host name or IP address',
  }),
  port: s.integer('port', { xml: '@port', optional: true, min: 0, max: 65_535 }),
  socket: path('unix socket', { xml: '@socket', optional: true }),
  unknown,
})

export const DiskCookie = s.object('DiskCookie', 'A cookie for the web server', {
  name: s.string('name', {
    xml: '@name',
    pattern: /^[!#$%&'*+\-.0-9A-Z^_`a-z|~]+$/u,
    patternName: 'the name of a cookie',
    maxLength: 1024,
  }),
  value: s.string('value', {
    xml: '.',
    pattern: /^"?[!#-+\--:<-[\]-~]+"?$/u,
    patternName: 'the value of a cookie',
    maxLength: 4096,
  }),
  unknown,
})

const DiskSlice = s.object('DiskSlice', 'The part of the storage that the image is in', {
  type: s.choice('kind of part', ['storage'], { xml: '@type', default: 'storage' }),
  offset: s.integer('first byte', { xml: '@offset', min: 0, max: Number.MAX_SAFE_INTEGER }),
  size: s.integer('number of bytes', { xml: '@size', min: 1, max: Number.MAX_SAFE_INTEGER }),
  unknown,
})

const NvmeAddress = s.object('NvmeAddress', 'Place of an NVMe controller on the PCI bus of the host', {
  domain: s.string('domain', { xml: '@domain', default: '0x0000', ...aNumber }),
  bus: s.string('bus', { xml: '@bus', default: '0x00', ...aNumber }),
  slot: s.string('slot', { xml: '@slot', default: '0x00', ...aNumber }),
  function: s.string('function', { xml: '@function', default: '0x0', ...aNumber }),
  unknown,
})

export const DiskReservations = s.object('DiskReservations', 'SCSI persistent reservations', {
  managed: s.boolean('whether the daemon of the host is used', {
    xml: '@managed',
    as: 'yes-no',
    optional: true,
  }),
  type: s.choice('kind of socket', ['unix'], { xml: 'source/@type', optional: true }),
  path: path('socket of the program that makes them', { xml: 'source/@path', optional: true }),
  mode: s.choice('direction', ['client'], { xml: 'source/@mode', optional: true }),
  unknown,
})

export const protocols = [
  ...(['nbd', 'iscsi', 'http', 'https', 'ftp', 'ftps', 'tftp', 'rbd', 'nfs', 'ssh', 'gluster'] as const),
  ...(['sheepdog', 'vxhs'] as const),
] as const

export const sourceTypes = ['file', 'block', 'dir', 'network', 'volume', 'nvme', 'vhostuser'] as const

/** The fields of a disk, and of what it is based on, that say where the content comes from. */
export const sourceFields = {
  file: path('image file on the host', { xml: 'source/@file', optional: true }),
  block: path('block device on the host', { xml: 'source/@dev', optional: true }),
  directory: path('folder on the host that is shown as a FAT disk', { xml: 'source/@dir', optional: true }),
  protocol: s.choice('network protocol', protocols, { xml: 'source/@protocol', optional: true }),
  name: s.string('name of the image on the server', {
    xml: 'source/@name',
    optional: true,
    ...printable,
  }),
  query: s.string('query of the URL', { xml: 'source/@query', optional: true, ...printable }),
  tls: s.boolean('encrypted connection', { xml: 'source/@tls', as: 'yes-no', optional: true }),
  tlsHostname: s.string("name in the server's certificate", {
    xml: 'source/@tlsHostname',
    optional: true,
    maxLength: 255,
    ...oneWord,
  }),
  tlsDirectory: path('folder with the certificates: ca-cert.pem, client-cert.pem, client-key.pem', {
    xml: 'source/@tlsDirectory',
    optional: true,
  }),
  pool: s.string('storage pool', { xml: 'source/@pool', optional: true, ...printable }),
  volume: s.string('volume of the pool', { xml: 'source/@volume', optional: true, ...printable }),
  poolMode: s.choice('how the volume is reached', ['host', 'direct'], {
    xml: 'source/@mode',
    optional: true,
  }),
  sourceType: s.choice(
    'place of an NVMe controller of the host, or of a vhost-user program',
    ['pci', 'unix'],
    {
      xml: 'source/@type',
      optional: true,
    },
  ),
  managed: s.boolean('whether the controller is taken from the host and given back', {
    xml: 'source/@managed',
    as: 'yes-no',
    optional: true,
  }),
  namespace: s.integer('NVMe namespace', {
    xml: 'source/@namespace',
    optional: true,
    min: 1,
    max: 4_294_967_295,
  }),
  nvmeAddress: s.field(NvmeAddress, { xml: 'source/address', optional: true }),
  socket: path('socket of the vhost-user program', { xml: 'source/@path', optional: true }),
  startupPolicy: s.choice(
    'what a missing source means: mandatory fails; optional and requisite leave the drive empty, requisite only when a machine goes on that ran already',
    ['mandatory', 'requisite', 'optional'],
    { xml: 'source/@startupPolicy', optional: true },
  ),
  hosts: s.array('servers', DiskHost, { xml: 'source/host', default: [], maxItems: 64 }),
  snapshot: s.string('snapshot on the server', {
    xml: 'source/snapshot/@name',
    optional: true,
    ...printable,
  }),
  configFile: path('configuration file of the protocol', { xml: 'source/config/@file', optional: true }),
  initiator: s.string('iSCSI name of this host', {
    xml: 'source/initiator/iqn/@name',
    optional: true,
    maxLength: 223,
    pattern: /^[a-zA-Z0-9.:_-]+$/u,
    patternName: "an iSCSI name such as 'iqn.2026-01.org.example:host'",
  }),
  cookies: s.array('cookies', DiskCookie, { xml: 'source/cookies/cookie', default: [], maxItems: 64 }),
  sslVerify: s.boolean("whether the server's certificate is checked", {
    xml: 'source/ssl/@verify',
    as: 'yes-no',
    optional: true,
  }),
  readaheadBytes: s.integer('bytes that are read ahead', {
    xml: 'source/readahead/@size',
    optional: true,
    min: 1,
    max: 2 ** 40,
  }),
  timeoutSeconds: s.integer('seconds until the server is given up', {
    xml: 'source/timeout/@seconds',
    optional: true,
    min: 1,
    max: 10_000,
  }),
  user: s.string('user at the server: a name or number for nfs (+1000), a name for ssh', {
    xml: 'source/identity/@user',
    optional: true,
    ...printable,
  }),
  group: s.string('group at the server: a name or number', {
    xml: 'source/identity/@group',
    optional: true,
    ...printable,
  }),
  sshUser: s.string('user at the ssh server', {
    xml: 'source/identity/@username',
    optional: true,
    ...printable,
  }),
  sshAgent: path('socket of the ssh agent', { xml: 'source/identity/@agentsock', optional: true }),
  knownHosts: path('file of the keys of known ssh servers', {
    xml: 'source/knownHosts/@path',
    optional: true,
  }),
  slice: s.field(DiskSlice, { xml: 'source/slices/slice', optional: true }),
  reservations: s.field(DiskReservations, { xml: 'source/reservations', optional: true }),
  auth: s.field(DiskAuth, { xml: 'source/auth', optional: true }),
  encryption: s.field(DiskEncryption, { xml: 'source/encryption', optional: true }),
} as const
