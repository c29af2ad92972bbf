/** Lists that are signed with OpenPGP, beside them or in themselves, as gpgv(1) of the distribution verifies them. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'

export interface SignedList {
  /** Where it is from, for messages. */
  readonly url: string
  readonly path: string
  /** File with the signature; without it the list is signed in itself. */
  readonly signature?: string | undefined
  /** Files that may have the keys. */
  readonly keys: readonly string[]
  /** Whether it is refused when no key is there. */
  readonly required: boolean
}

export interface VerifiedList {
  /** What is signed, and nothing else that stands in the file. */
  readonly text: string
  /** Fingerprint of the key; undefined when none is there to verify it with. */
  readonly signedBy?: string
}

/** Most of a file with keys that is read. */
const mostKeyBytes = 2 ** 22

/** Fails with `failed` when the signature is not good, `unavailable` when gpgv or a key that is needed is missing. */
export async function verifyList({
  url,
  path,
  signature,
  keys,
  required,
}: SignedList): Promise<VerifiedList> {
  const found = (await Promise.all(keys.map(readKey))).filter((key) => key !== undefined)
  if (found.length === 0) {
    if (!required) return { text: withoutSignature(await readFile(path, 'utf8')) }
    throw new VisorError(
      'unavailable',
      `No key is on this host that the signature of '${url}' could be verified with.`,
      {
        remedy: `Put it where it is looked for: ${keys.join(', ')}.`,
      },
    )
  }
  const folder = `${path}.verify`
  await mkdir(folder, { mode: 0o700 })
  try {
    const keyring = join(folder, 'keys.gpg')
    const output = join(folder, 'signed')
    await writeFile(keyring, Buffer.concat(found), { mode: 0o600 })
    // A home that is not there: no key of the user's counts.
    const common = ['--homedir', join(folder, 'none'), '--status-fd', '1', '--keyring', keyring]
    const signed = signature === undefined ? ['--output', output, path] : [signature, path]
    const result = await run('gpgv', [...common, ...signed], {
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
      maxBytes: 2 ** 20,
    }).catch(withRemedy)
    const signedBy = readStatus(result.stdout)
    if (result.code !== 0 || signedBy === undefined) throw notSigned(url, result, keys)
    return { text: await readFile(signature === undefined ? output : path, 'utf8'), signedBy }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** What stands in a text that is signed in itself; any other as it is. RFC 9580, 7. */
export function withoutSignature(text: string): string {
  const [, body] =
    /^-----BEGIN PGP SIGNED MESSAGE-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n([\s\S]*?)\r?\n-----BEGIN PGP SIGNATURE-----/u.exec(
      text,
    ) ?? []
  return body?.replace(/^- /gmu, '') ?? text
}

/** The key of a good signature. Source: GnuPG's doc/DETAILS; what is expired or revoked says so in place of GOODSIG. */
function readStatus(text: string): string | undefined {
  const words = text.split('\n').flatMap((line) => {
    const [mark, ...rest] = line.split(' ')
    return mark === '[GNUPG:]' ? [rest] : []
  })
  const has = (word: string) => words.some(([first]) => first === word)
  if (!has('GOODSIG') || ['BADSIG', 'EXPSIG', 'EXPKEYSIG', 'REVKEYSIG'].some(has)) return undefined
  const fingerprint = words.find(([first]) => first === 'VALIDSIG')?.[1]
  return fingerprint !== undefined && /^[0-9A-F]{40,64}$/u.test(fingerprint) ? fingerprint : undefined
}

function notSigned(
  url: string,
  { stdout, stderr }: { stdout: string; stderr: string },
  keys: readonly string[],
) {
  const why = /^\[GNUPG:\] BADSIG/mu.test(stdout)
    ? 'it was changed since it was signed'
    : /^\[GNUPG:\] (?:EXPSIG|EXPKEYSIG|REVKEYSIG)/mu.test(stdout)
      ? 'its key or signature is expired or revoked'
      : /^\[GNUPG:\] NO_PUBKEY/mu.test(stdout)
        ? `it was signed with a key that is not in ${keys.join(', ')}`
        : (stderr.trim().split('\n').at(-1) ?? '').replace(/^gpgv: /u, '') || 'it is not signed'
  return new VisorError('failed', `The signature of '${url}' is not good: ${why}.`, {
    remedy: 'Fetch it again later. When that does not help, do not use it: somebody else may have made it.',
  })
}

function withRemedy(error: unknown): never {
  if (error instanceof VisorError && error.code === 'unavailable')
    throw new VisorError('unavailable', 'Signatures are verified by gpgv, which is not installed.', {
      cause: error,
      remedy: 'Install gpgv.',
    })
  throw error
}

/** Keys as gpgv takes them: not in the form for mails, which is what most are published in. RFC 9580, 6.2. */
async function readKey(path: string): Promise<Buffer | undefined> {
  const bytes = await readFile(path).catch(() => undefined)
  if (!bytes || bytes.length > mostKeyBytes) return undefined
  const text = bytes.toString('latin1')
  const blocks = [
    ...text.matchAll(
      /-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]+: [^\r\n]*\r?\n)*\r?\n([A-Za-z0-9+/=\r\n]+?)(?:\r?\n=[A-Za-z0-9+/]{4})?\r?\n-----END PGP PUBLIC KEY BLOCK-----/gu,
    ),
  ]
  if (blocks.length === 0) return bytes
  return Buffer.concat(blocks.map(([, body = '']) => Buffer.from(body, 'base64')))
}

/** Where the keys are that a file of a folder names. */
export const keyPaths = (keys: readonly string[], folder: string): string[] =>
  keys.map((key) => (key.startsWith('/') ? key : join(folder, key)))
