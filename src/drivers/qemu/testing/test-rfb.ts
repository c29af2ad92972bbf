/** A small RFB client, for tests: logs in to screens. */
import assert from 'node:assert/strict'
import { createCipheriv, getCiphers } from 'node:crypto'
import { createConnection } from 'node:net'

export const hasDes: boolean = getCiphers().includes('des-ede3')

/** One block of DES, as three times the same key in triple DES, which OpenSSL has where DES alone is gone. */
function encrypt(challenge: Buffer, password: string): Buffer {
  const reversed = [...Buffer.alloc(8, password.padEnd(8, '\0'))].map((byte) =>
    Number.parseInt(byte.toString(2).padStart(8, '0').split('').reverse().join(''), 2),
  )
  const key = Buffer.from([...reversed, ...reversed, ...reversed])
  const cipher = createCipheriv('des-ede3', key, null).setAutoPadding(false)
  return Buffer.concat([cipher.update(challenge), cipher.final()])
}

/** Logs in as RFC 6143 has it, security type 2: whether the server, at a port of this host or a socket, takes the password. */
export async function logIn(server: number | string, password: string): Promise<boolean> {
  const socket = typeof server === 'number' ? createConnection(server, '127.0.0.1') : createConnection(server)
  let got: Buffer = Buffer.alloc(0)
  const chunks = socket.iterator({ destroyOnReturn: false })
  const take = async (count: number): Promise<Buffer> => {
    while (got.length < count) {
      const { value, done } = await chunks.next()
      if (done) throw new Error('The server hung up.')
      got = Buffer.concat([got, value as Buffer])
    }
    const taken = got.subarray(0, count)
    got = got.subarray(count)
    return taken
  }
  try {
    assert.equal(String(await take(12)), 'RFB 003.008\n')
    socket.write('RFB 003.008\n')
    const types = [...(await take((await take(1))[0] ?? 0))]
    assert.deepEqual(types, [2])
    socket.write(Buffer.from([2]))
    socket.write(encrypt(await take(16), password))
    return (await take(4)).readUInt32BE() === 0
  } finally {
    socket.destroy()
  }
}
