/** Hashes of passwords as Linux keeps them. Source: Ulrich Drepper, "Unix crypt using SHA-256 and SHA-512" (2016). */
import { createHash, randomBytes } from 'node:crypto'

const rounds = 5000
const digits = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/**
 * `$6$SALT$...`, which crypt(3) takes for this password. The salt is random without `salt`: at most 16 of the letters,
 * digits, `.` and `/`. Fails with `RangeError` for a password that is empty or has more than 256 bytes or a zero byte.
 */
export function sha512Crypt(password: string, salt = randomSalt()): string {
  const key = Buffer.from(password)
  if (key.length === 0 || key.length > 256 || key.includes(0))
    throw new RangeError('A password has 1 to 256 bytes, none of them zero.')
  const mixed = Buffer.from(salt, 'latin1')
  const alternate = sha512(key, mixed, key)
  const parts = [key, mixed, repeated(alternate, key.length)]
  for (let bits = key.length; bits > 0; bits >>>= 1) parts.push(bits & 1 ? alternate : key)
  let digest = sha512(...parts)
  const p = repeated(sha512(...Array.from(key, () => key)), key.length)
  const s = repeated(sha512(...Array.from({ length: 16 + (digest[0] ?? 0) }, () => mixed)), mixed.length)
  for (let round = 0; round < rounds; round++) {
    const isOdd = round % 2 === 1
    digest = sha512(
      isOdd ? p : digest,
      round % 3 === 0 ? none : s,
      round % 7 === 0 ? none : p,
      isOdd ? digest : p,
    )
  }
  return `$6$${salt}$${encode(digest)}`
}

const none = Buffer.alloc(0)

const sha512 = (...parts: readonly Buffer[]): Buffer =>
  createHash('sha512').update(Buffer.concat(parts)).digest()

const repeated = (block: Buffer, length: number): Buffer =>
  Buffer.alloc(length, length === 0 ? undefined : block)

function randomSalt(): string {
  return Array.from(randomBytes(16), (byte) => digits[byte & 63]).join('')
}

/** Three bytes make four digits, the lowest first; which three goes around. */
function encode(digest: Buffer): string {
  let text = ''
  const add = (value: number, count: number) => {
    for (let index = 0; index < count; index++) text += digits[(value >> (6 * index)) & 63]
  }
  const at = (index: number) => digest[index] ?? 0
  for (let index = 0; index < 21; index++) {
    const three = [index, index + 21, index + 42]
    const turn = index % 3
    const [a = 0, b = 0, c = 0] = [...three.slice(turn), ...three.slice(0, turn)]
    add((at(a) << 16) | (at(b) << 8) | at(c), 4)
  }
  add(at(63), 2)
  return text
}
