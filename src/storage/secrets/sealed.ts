/**
 * Values at rest: AES-256-GCM (NIST SP 800-38D) with a key that is not in the store, each bound to the secret it is
 * of, so that a copy of the store tells nothing and none can be put in the place of another.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { link, open, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errorNumber, makePrivateDirectory, syncDirectory, unlessMissing } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'

const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16
const algorithm = 'aes-256-gcm'

export type Key = Buffer

/** `nonce | tag | ciphertext` as base64. */
export function seal(key: Key, owner: string, value: Uint8Array): string {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes }).setAAD(Buffer.from(owner))
  const content = Buffer.concat([cipher.update(value), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), content]).toString('base64')
}

/** Throws when it was changed, is of another owner, or was sealed with another key. */
export function unseal(key: Key, owner: string, sealed: string): Buffer {
  const bytes = Buffer.from(sealed, 'base64')
  const decipher = createDecipheriv(algorithm, key, bytes.subarray(0, nonceBytes), {
    authTagLength: tagBytes,
  })
  decipher.setAAD(Buffer.from(owner)).setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes))
  return Buffer.concat([decipher.update(bytes.subarray(nonceBytes + tagBytes)), decipher.final()])
}

/** The name under which systemd hands the key over (systemd.exec(5), LoadCredentialEncrypted). */
const credential = 'visor-secrets-key'

/** Where the key is: what systemd hands over, else a file beside the store. */
export function keyFileOf(stateDirectory: string, environment: NodeJS.ProcessEnv = process.env): string {
  const { CREDENTIALS_DIRECTORY } = environment
  return CREDENTIALS_DIRECTORY ? join(CREDENTIALS_DIRECTORY, credential) : join(stateDirectory, 'secrets.key')
}

/**
 * The key in the file, made when there is none and `make` says so. Fails with `unavailable` when it is no key of
 * ours, or others may read it.
 */
export async function readKey(file: string, { make }: { readonly make: boolean }): Promise<Key> {
  const key = await unlessMissing(readFile(file))
  if (key === undefined) {
    if (make) return makeKey(file)
    throw new VisorError('unavailable', `The key of the secrets, '${file}', is not there.`, {
      remedy:
        'Put back the file from a copy of it; or give each secret its value anew: visor secret set-value.',
    })
  }
  if (key.length !== keyBytes)
    throw new VisorError(
      'unavailable',
      `The key of the secrets, '${file}', has ${key.length} bytes, not 32.`,
      {
        remedy: 'Put back the file from a copy of it.',
      },
    )
  const { mode } = await stat(file)
  if ((mode & 0o077) !== 0)
    throw new VisorError('unavailable', `The key of the secrets, '${file}', can be read by others.`, {
      remedy: `Take that away: chmod 600 ${file}`,
    })
  return key
}

/** Whole and durable before it has its name, and never in the place of one that is there. */
async function makeKey(path: string): Promise<Key> {
  await makePrivateDirectory(dirname(path))
  const key = randomBytes(keyBytes)
  const scratch = `${path}.${process.pid}.tmp`
  try {
    const file = await open(scratch, 'wx', 0o600)
    try {
      await file.writeFile(key)
      await file.sync()
    } finally {
      await file.close()
    }
    await link(scratch, path)
  } catch (cause) {
    if (errorNumber(cause) === 'EEXIST') return readKey(path, { make: false })
    throw new VisorError('unavailable', `The key of the secrets cannot be made: '${path}'.`, {
      cause,
      remedy: 'See that its folder is writable and has room.',
    })
  } finally {
    await rm(scratch, { force: true })
  }
  await syncDirectory(dirname(path))
  return key
}
