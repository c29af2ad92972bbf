import assert from 'node:assert/strict'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { RestContext } from '../rest/index.ts'
import { createLogin, readToken, tokenFile } from './login.ts'

describe('login', () => {
  let directory: string
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'visor-login-'))
  })
  after(() => rm(directory, { recursive: true }))

  it('keeps one token per state directory, for its owner only', async () => {
    const token = readToken(directory)
    assert.match(token, /^[\w-]{43}$/)
    assert.equal(readToken(directory), token)
    assert.equal((await stat(tokenFile(directory))).mode & 0o777, 0o600)
    await writeFile(tokenFile(directory), 'short\n')
    assert.throws(() => readToken(directory), /too short/)
  })

  it('knows tokens everywhere and peers on the unix socket only', () => {
    const login = createLogin({ token: 'a'.repeat(43), socketAccess: 'read', uid: 1000 })
    const ask = (context: RestContext, authorization?: string) =>
      login(new Request('http://localhost/', { headers: authorization ? { authorization } : {} }), context)
    const tcp: RestContext = { transport: 'tcp' }
    const unix = (uid: number): RestContext => ({ transport: 'unix', peer: { pid: 1, uid, gid: 1 } })

    assert.equal(ask(tcp), undefined)
    assert.equal(ask(tcp, 'Bearer '), undefined)
    assert.equal(ask(tcp, `Bearer ${'b'.repeat(43)}`), undefined)
    assert.equal(ask(tcp, `Bearer ${'a'.repeat(42)}`), undefined)
    assert.equal(ask(tcp, `Basic ${'a'.repeat(43)}`), undefined)
    assert.deepEqual(ask(tcp, `bearer ${'a'.repeat(43)}`), { name: 'token', access: 'admin' })

    assert.equal(ask(unix(0))?.access, 'admin')
    assert.equal(ask(unix(1000))?.access, 'admin')
    assert.deepEqual(ask(unix(1001)), { name: 'uid 1001', access: 'read' })
    assert.equal(ask(unix(1001), `Bearer ${'a'.repeat(43)}`)?.access, 'admin')
    assert.equal(ask(unix(0), 'Bearer wrong'), undefined)
    assert.equal(ask({ transport: 'unix' }), undefined)
  })
})
