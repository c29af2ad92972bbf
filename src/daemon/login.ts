/** Who asks: by token over any way in, by the kernel's word over the unix socket. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { VisorError } from '../model/index.ts'
import type { Identity, RestContext } from '../rest/index.ts'

/** The file that holds the token; only its owner reads it. */
export function tokenFile(stateDirectory: string): string {
  return join(stateDirectory, 'token')
}

/** The token of this state directory, made at the first start: 256 random bits. */
export function readToken(stateDirectory: string): string {
  const file = tokenFile(stateDirectory)
  const token = readOrMake(file).trim()
  if (token.length < 32)
    throw new VisorError('unavailable', `The token in '${file}' is too short to be safe.`, {
      remedy: `Remove the file: the next start makes a new one.`,
    })
  return token
}

function readOrMake(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const token = randomBytes(32).toString('base64url')
  const descriptor = openSync(file, 'wx', 0o600)
  try {
    writeSync(descriptor, `${token}\n`)
  } finally {
    closeSync(descriptor)
  }
  return token
}

export interface LoginOptions {
  readonly token: string
  /** What other users may over the unix socket. */
  readonly socketAccess: Identity['access']
  /** The user that visord runs as. */
  readonly uid?: number
}

/** The check that REST asks for each request; undefined: nobody. */
export function createLogin({ token, socketAccess, uid = process.getuid?.() ?? 0 }: LoginOptions) {
  const wanted = digest(token)
  return (request: Request, context: RestContext): Identity | undefined => {
    const given = /^Bearer +(\S+)$/iu.exec(request.headers.get('authorization') ?? '')?.[1]
    if (given !== undefined)
      return timingSafeEqual(digest(given), wanted) ? { name: 'token', access: 'admin' } : undefined
    const { peer } = context
    if (context.transport !== 'unix' || !peer) return undefined
    if (peer.uid === 0 || peer.uid === uid)
      return { name: peer.uid === 0 ? 'root' : `uid ${uid}`, access: 'admin' }
    return { name: `uid ${peer.uid}`, access: socketAccess }
  }
}

/** Of equal length whatever was sent, so that comparing takes the same time for all. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
