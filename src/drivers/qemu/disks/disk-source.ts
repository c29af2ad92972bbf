/** Where an image is, as the block drivers of QEMU have it. Source: QEMU's QMP reference, BlockdevOptions. */
import type { BackingStore, Disk } from '../../../model/index.ts'
import { unsupported } from '../definition/unsupported.ts'
import { authOf, encryptionOf, secretId, tlsId } from './disk-secrets.ts'

/** What a disk and each of its backing stores say about where they are. */
export type Source = Disk | BackingStore
export type BlockOptions = Readonly<Record<string, unknown>>

/** Options of QEMU's block driver for a source that is not a local file. Fails with `unsupported-config`. */
export function remoteOptions(source: Source, node: string): BlockOptions {
  if (source.type === 'nvme') return nvme(source)
  if (source.type === 'dir') return folder(source)
  const make = source.protocol && protocols[source.protocol]
  if (!make) throw unsupported('devices.disks', `QEMU has no protocol '${source.protocol ?? source.type}'`)
  return make(source, node)
}

/** The name of what is opened, for people. */
export function describeSource(source: Source): string {
  const { type, protocol, name = '', hosts, directory, nvmeAddress } = source
  if (type === 'dir') return directory ?? ''
  if (type === 'volume') return `${source.pool}/${source.volume}`
  if (type === 'nvme') return nvmeAddress ? pciName(nvmeAddress) : ''
  const [host] = hosts
  const where = host?.socket ?? [host?.name ?? '', host?.port].filter((one) => one !== undefined).join(':')
  return `${protocol}://${where}/${name}`
}

type Make = (source: Source, node: string) => BlockOptions

const protocols: Readonly<Partial<Record<NonNullable<Disk['protocol']>, Make>>> = {
  nbd: (source, node) => ({
    driver: 'nbd',
    server: server(source, 10_809),
    export: source.name,
    'tls-creds': source.tls ? tlsId(node) : undefined,
    'tls-hostname': source.tlsHostname,
  }),
  http: web,
  https: web,
  ftp: web,
  ftps: web,
  iscsi: (source, node) => {
    const [, target = '', lun = '0'] = /^(.*?)(?:\/(\d+))?$/u.exec(source.name ?? '') ?? []
    const { host, port } = inet(source, 3260)
    return {
      driver: 'iscsi',
      transport: source.hosts[0]?.transport === 'rdma' ? 'iser' : 'tcp',
      portal: `${host}:${port}`,
      target,
      lun: Number(lun),
      'initiator-name': source.initiator,
      ...login(source, node, 'user', 'password-secret'),
      timeout: source.timeoutSeconds,
    }
  },
  rbd: (source, node) => {
    const [pool, ...rest] = (source.name ?? '').split('/')
    const image = rest.pop()
    if (!pool || !image)
      throw unsupported('devices.disks', `the rbd image '${source.name}' is not 'pool/image'`)
    const isLibrbd = encryptionOf(source)?.engine === 'librbd'
    return {
      driver: 'rbd',
      pool,
      namespace: rest.length > 0 ? rest.join('/') : undefined,
      image,
      snapshot: source.snapshot,
      conf: source.configFile,
      server: source.hosts.length > 0 ? servers(source, 6789) : undefined,
      ...login(source, node, 'user', 'key-secret'),
      'auth-client-required': authOf(source) ? ['cephx', 'none'] : undefined,
      encrypt: isLibrbd
        ? { format: encryptionOf(source)?.format, 'key-secret': secretId(node, 'key') }
        : undefined,
    }
  },
  nfs: (source) => ({
    driver: 'nfs',
    server: { type: 'inet', host: inet(source, 0).host },
    path: source.name,
    user: identity(source.user, 'user'),
    group: identity(source.group, 'group'),
  }),
  ssh: (source) => ({
    driver: 'ssh',
    path: source.name,
    user: source.sshUser ?? authOf(source)?.username,
    server: inet(source, 22),
    'host-key-check': { mode: 'known_hosts' },
  }),
  gluster: (source) => {
    const [volume, ...path] = (source.name ?? '').replace(/^\//u, '').split('/')
    return {
      driver: 'gluster',
      volume,
      path: path.join('/'),
      server: source.hosts.map((host) =>
        host.transport === 'unix'
          ? { type: 'unix', path: host.socket }
          : { type: 'inet', host: host.name, port: String(host.port ?? 24_007) },
      ),
    }
  },
}

function web(source: Source, node: string): BlockOptions {
  const { protocol, name = '', query, sslVerify, readaheadBytes, timeoutSeconds, cookies } = source
  const { host, port } = inet(source, { http: 80, https: 443, ftp: 21, ftps: 990 }[protocol as 'http'])
  // The name is a path as people read it; what means something in a URL is spelt so that it is part of it.
  const path = name.replace(/^\//u, '').split('/').map(encodeURIComponent).join('/')
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`
  return {
    driver: protocol,
    url: `${protocol}://${authority}/${path}${query === undefined ? '' : `?${query}`}`,
    'cookie-secret': cookies.length > 0 ? secretId(node, 'cookies') : undefined,
    ...login(source, node, 'username', 'password-secret'),
    sslverify: sslVerify,
    readahead: readaheadBytes,
    timeout: timeoutSeconds,
  }
}

function nvme({ nvmeAddress, namespace, managed }: Source): BlockOptions {
  if (managed)
    throw unsupported(
      'devices.disks',
      'an NVMe controller of the host is not taken from it by itself',
      'Bind it to vfio-pci, and say managed=no.',
    )
  return { driver: 'nvme', device: nvmeAddress ? pciName(nvmeAddress) : '', namespace: namespace ?? 1 }
}

function pciName(address: NonNullable<Disk['nvmeAddress']>): string {
  const hex = (text: string, width: number) => Number(text).toString(16).padStart(width, '0')
  const { domain, bus, slot, function: unit } = address
  return `${hex(domain, 4)}:${hex(bus, 2)}:${hex(slot, 2)}.${hex(unit, 1)}`
}

/** QEMU's virtual FAT; that one can be written is experimental, and has damaged folders. */
function folder(source: Source): BlockOptions {
  return {
    driver: 'vvfat',
    dir: source.directory,
    rw: false,
    floppy: 'device' in source && source.device === 'floppy' ? true : undefined,
  }
}

function login(source: Source, node: string, userKey: string, secretKey: string): BlockOptions {
  const auth = authOf(source)
  if (!auth) return {}
  return {
    [userKey]: auth.username,
    ...(auth.secret ? { [secretKey]: secretId(node, 'auth') } : {}),
  }
}

function server(source: Source, port: number): BlockOptions {
  const [host] = source.hosts
  if (host?.transport === 'unix') return { type: 'unix', path: host.socket }
  return { type: 'inet', ...inet(source, port) }
}

function inet({ hosts, protocol }: Source, standard: number): { host: string; port: string } {
  const [host] = hosts
  if (host?.name === undefined)
    throw unsupported('devices.disks', `a source of protocol '${protocol}' needs the name of a host`)
  return { host: host.name.replace(/^\[(.*)\]$/u, '$1'), port: String(host.port ?? standard) }
}

function servers({ hosts }: Source, standard: number): BlockOptions[] {
  return hosts.map(({ name, port }) => ({ host: name, port: String(port ?? standard) }))
}

/** libvirt's `+1000` is the number 1000. */
function identity(text: string | undefined, what: string): number | undefined {
  if (text === undefined) return undefined
  if (/^\+?\d{1,10}$/u.test(text)) return Number(text)
  throw unsupported('devices.disks', `the ${what} '${text}' at the server is no number, such as '+1000'`)
}
