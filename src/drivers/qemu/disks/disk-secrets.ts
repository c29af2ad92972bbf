/**
 * Secrets and certificates of disks, as objects of QEMU. The secrets themselves stay in their files: what is on
 * a command line everybody can read. Source: qemu(1), -object secret and tls-creds-x509.
 */
import type { BackingStore, Disk } from '../../../model/index.ts'
import { object, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'

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

/** The objects that the source of the node `name` refers to; `cookies` is a file that holds them. */
export function secretParts(source: Source, name: string, cookies: string | undefined): Part[] {
  const auth = authOf(source)
  const key = encryptionOf(source)?.secrets[0]
  return [
    ...(auth?.secret ? [secretPart(secretId(name, 'auth'), auth.secret)] : []),
    ...(key ? [secretPart(secretId(name, 'key'), key)] : []),
    ...(source.cookies.length > 0 && cookies !== undefined
      ? [object('secret', { id: secretId(name, 'cookies'), file: cookies })]
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

function secretPart(id: string, secret: NonNullable<Secret>): Part {
  return object('secret', { id, file: secretFile(secret) })
}

function secretFile({ file }: NonNullable<Secret>): string {
  if (file !== undefined) return file
  throw unsupported(
    'devices.disks',
    'a secret by uuid or usage cannot be looked up, as visor keeps none',
    "Put it in a file that only root can read, and name that: 'file' of the secret.",
  )
}

/** The files with secrets that QEMU reads for a source. */
export function secretFiles(source: Source): string[] {
  const secrets = [authOf(source)?.secret, ...(encryptionOf(source)?.secrets ?? [])]
  return secrets.flatMap((secret) => (secret?.file === undefined ? [] : [secret.file]))
}

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
