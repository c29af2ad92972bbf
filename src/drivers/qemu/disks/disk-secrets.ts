/**
 * Secrets and certificates of disks, as objects of QEMU. The secrets themselves stay in their files: what is on
 * a command line everybody can read. Source: qemu(1), -object secret and tls-creds-x509.
 */
import type { BackingStore, Disk } from '../../../model/index.ts'
import { object, type Part } from '../definition/parts.ts'
import type { GuestPaths } from '../paths.ts'

type Source = Disk | BackingStore
type Secret = NonNullable<Source['auth']>['secret']

/** What libvirt's QEMU driver takes when its configuration says nothing. */
export const defaultTlsDirectory = '/etc/pki/qemu'

export const secretId = (node: string, purpose: 'auth' | 'key' | 'cookies'): string => `${node}-${purpose}`
export const tlsId = (node: string): string => `${node}-tls`

export function authOf(source: Source): Source['auth'] {
  return source.auth ?? ('outerAuth' in source ? source.outerAuth : undefined)
}

export function encryptionOf(source: Source): Source['encryption'] {
  return source.encryption ?? ('outerEncryption' in source ? source.outerEncryption : undefined)
}

/** The objects that the source of the node `name` refers to. */
export function secretParts(source: Source, name: string, paths: Pick<GuestPaths, 'secret'>): Part[] {
  return [
    ...neededSecrets(source, name).map(({ id, secret }) =>
      object('secret', { id, file: secretFile(secret, id, paths) }),
    ),
    ...(source.cookies.length > 0
      ? [object('secret', { id: secretId(name, 'cookies'), file: paths.secret(cookieFile(name)) })]
      : []),
    ...(source.tls
      ? [
          object('tls-creds-x509', {
            id: tlsId(name),
            dir: source.tlsDirectory ?? defaultTlsDirectory,
            endpoint: 'client',
            'verify-peer': true,
          }),
        ]
      : []),
  ]
}

interface NeededSecret {
  readonly id: string
  readonly secret: NonNullable<Secret>
  readonly usage: 'volume' | 'ceph' | 'iscsi'
}

/** What the source of the node `name` needs: the password of its server, and its key. */
export function neededSecrets(source: Source, name: string): NeededSecret[] {
  const login = authOf(source)?.secret
  const key = encryptionOf(source)?.secrets[0]
  return [
    ...(login
      ? [
          {
            id: secretId(name, 'auth'),
            secret: login,
            usage: login.type === 'ceph' || login.type === 'iscsi' ? login.type : ('volume' as const),
          },
        ]
      : []),
    ...(key ? [{ id: secretId(name, 'key'), secret: key, usage: 'volume' as const }] : []),
  ]
}

/** The file with it: the one that the definition names, else one of visor's own for this run ({@link makeSecretFiles}). */
export const secretFile = (
  { file }: NonNullable<Secret>,
  id: string,
  paths: Pick<GuestPaths, 'secret'>,
): string => file ?? paths.secret(id)

/** The file with the key of an encrypted disk. */
export function keyFileOf(disk: Disk, paths: Pick<GuestPaths, 'secret'>): string | undefined {
  const key = encryptionOf(disk)?.secrets[0]
  return key && secretFile(key, secretId(disk.target, 'key'), paths)
}

/** The files with secrets that QEMU reads for a disk and what its definition says it is based on. */
export const secretFiles = (disk: Disk, paths: Pick<GuestPaths, 'secret'>): string[] =>
  namedSources(disk).flatMap(({ name, source }) =>
    neededSecrets(source, name).map(({ id, secret }) => secretFile(secret, id, paths)),
  )

/** Those of them that the definition names. */
export const givenSecretFiles = (disk: Disk): string[] =>
  namedSources(disk).flatMap(({ name, source }) =>
    neededSecrets(source, name).flatMap(({ secret }) => secret.file ?? []),
  )

/** The cookies as an HTTP header has them. */
export const formatCookies = ({ cookies }: Source): string =>
  cookies.map(({ name, value }) => `${name}=${value}`).join('; ')

export const cookieFile = (node: string): string => `${node}-cookies`

/** A disk and what its definition says it is based on, with the names of their nodes. */
export function namedSources(disk: Disk): { readonly name: string; readonly source: Source }[] {
  const found: { name: string; source: Source }[] = []
  for (let source: Source | undefined = disk; source; source = source.backingStore)
    found.push({
      name: found.length === 0 ? disk.target : `${disk.target}-b${found.length}`,
      source,
    })
  return found
}
