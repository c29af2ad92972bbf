/**
 * Passwords of screens. They stay in their files: neither a definition nor a command line has them, and QEMU gets
 * them through its monitor. Until it has, it lets nobody in. Source: set_password and expire_password, QMP reference.
 */
import { open } from 'node:fs/promises'
import { type Graphics, VisorError } from '../../../../model/index.ts'
import { unsupported } from '../../definition/unsupported.ts'
import type { QmpClient } from '../../qmp/index.ts'

/** RFB has no more than these bytes; the server of SPICE refuses longer ones. */
const longest = { vnc: 8, spice: 60 } as const

const hasPassword = ({ type, passwordFile }: Graphics): boolean =>
  passwordFile !== undefined && (type === 'vnc' || type === 'spice')

/** Fails with `unsupported-config` or `invalid-definition` for what can be told without the file. */
export function checkPassword(screen: Graphics, path: string): void {
  const { type, passwordFile, passwordValidTo, passwordConnected = 'keep' } = screen
  if (passwordFile !== undefined && !hasPassword(screen))
    throw unsupported(`${path}.passwordFile`, `a screen of type '${type}' has no password`)
  if (passwordFile === undefined && (passwordValidTo !== undefined || screen.passwordConnected !== undefined))
    throw unsupported(path, 'there is no password', "Name the file that holds it: 'passwordFile'.")
  if (type === 'vnc' && passwordConnected !== 'keep')
    throw unsupported(`${path}.passwordConnected`, "is 'keep' for type 'vnc'")
  if (passwordValidTo !== undefined) expiry(passwordValidTo, path)
}

/** Gives QEMU the passwords of the screens that have one; who is connected stays so unless the screen says else. */
export async function setPasswords(screens: readonly Graphics[], monitor: QmpClient): Promise<void> {
  for (const [index, screen] of screens.entries()) {
    const { type: protocol, passwordFile, passwordValidTo, passwordConnected = 'keep' } = screen
    if (passwordFile === undefined || (protocol !== 'vnc' && protocol !== 'spice')) continue
    const path = `devices.graphics[${index}]`
    const password = await readPassword(passwordFile, longest[protocol], `${path}.passwordFile`)
    const time = passwordValidTo === undefined ? 'never' : expiry(passwordValidTo, path)
    // Before the password, so that one that has expired is never good.
    await monitor.execute('expire_password', { protocol, time })
    await monitor.execute('set_password', { protocol, password, connected: passwordConnected })
  }
}

/** The end of its validity in seconds since 1970. */
function expiry(validTo: string, path: string): string {
  const at = Date.parse(`${validTo}Z`)
  if (!Number.isNaN(at)) return String(Math.floor(at / 1000))
  throw new VisorError('invalid-definition', `There is no time '${validTo}'.`, {
    path: `${path}.passwordValidTo`,
    remedy: "Give it in UTC, such as '2030-12-31T23:59:59'.",
  })
}

async function readPassword(file: string, most: number, path: string): Promise<string> {
  const bad = (what: string, cause?: unknown) =>
    new VisorError('invalid-definition', `The password of the screen in '${file}' ${what}.`, { path, cause })
  const handle = await open(file, 'r').catch((error: unknown) => {
    throw bad('cannot be read', error)
  })
  try {
    const { size } = await handle.stat()
    // Room for the end of the line.
    if (size > most + 2) throw bad(`is longer than ${most} bytes`)
    const password = (await handle.readFile('utf8')).replace(/\r?\n$/u, '')
    if (Buffer.byteLength(password) > most) throw bad(`is longer than ${most} bytes`)
    if (password === '' || /\p{Cc}/u.test(password)) throw bad('is no line of text')
    return password
  } finally {
    await handle.close()
  }
}
