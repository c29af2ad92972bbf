import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { VisorError } from '../../model/index.ts'
import { cardsOf, parseAddress } from './address-spec.ts'
import { readFirstBoot } from './flags.ts'

const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ann@home'
const machine = { uuid: 'b4b1e2f0-0000-4000-8000-000000000001', name: 'web', macs: ['52:54:00:00:00:01'] }
const code = (wanted: string) => (error: unknown) => error instanceof VisorError && error.code === wanted

test('addresses of a card', () => {
  const text =
    '0=192.0.2.5/24,2001:db8::5/64,gateway=192.0.2.1,dns=192.0.2.53,dns=192.0.2.54,search=a.org,mtu=1400'
  const settings = {
    addresses: ['192.0.2.5/24', '2001:db8::5/64'],
    gateways: ['192.0.2.1'],
    nameservers: ['192.0.2.53', '192.0.2.54'],
    searchDomains: ['a.org'],
    mtu: 1400,
  }
  assert.deepEqual(parseAddress(text), { card: 0, settings })
  const macs = ['52:54:00:00:00:01', '52:54:00:00:00:02']
  assert.deepEqual(cardsOf([parseAddress(text)], macs), [{ mac: macs[0], ...settings }, { mac: macs[1] }])
  assert.deepEqual(cardsOf([], macs), [])
  for (const wrong of ['', '192.0.2.5/24', '0=', 'x=192.0.2.5/24', '0=gateway=192.0.2.1', '0=1.2.3.4/8,x=y'])
    assert.throws(() => parseAddress(wrong), code('invalid-argument'), wrong)
  const one = parseAddress('1=192.0.2.5/24')
  assert.throws(() => cardsOf([one], ['52:54:00:00:00:01']), code('invalid-argument'))
  assert.throws(() => cardsOf([one, one], macs), code('invalid-argument'))
})

test('flags that say nothing make no seed', async () => {
  assert.equal(await readFirstBoot({}, machine), undefined)
})

test('keys, a user and a password, which is only kept as its hash', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'visor-test-first-boot-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const file = async (name: string, content: string | Uint8Array) => {
    await writeFile(join(folder, name), content)
    return join(folder, name)
  }
  const keys = await file('id.pub', `# mine\n${key}\n\n${key}2\n`)
  const passwordFile = await file('password', 'correct horse\n')
  const read = (flags: Parameters<typeof readFirstBoot>[0], image?: string) =>
    readFirstBoot(flags, { ...machine, image })
  const plain = await read({ sshKey: [keys, key], run: ['true'] })
  assert.deepEqual(plain?.sshKeys, [key, `${key}2`, key])
  assert.deepEqual([plain?.hostname, plain?.instanceId, plain?.commands], ['web', machine.uuid, ['true']])
  const named = await read({ user: 'ann', passwordFile, sshKey: [key] }, 'debian-12')
  assert.equal(named?.sshKeys, undefined)
  const [user] = named?.users ?? []
  assert.deepEqual([user?.name, user?.shell, user?.sshKeys], ['ann', '/bin/bash', [key]])
  assert.match(user?.passwordHash ?? '', /^\$6\$/u)
  assert.doesNotMatch(JSON.stringify(named), /correct horse/u)
  assert.equal((await read({ user: 'ann', sshKey: [key] }, 'alpine-3.22'))?.users?.[0]?.shell, undefined)
  const written = await read({ write: [`/etc/motd=${await file('motd', 'hi\n')}`] })
  assert.deepEqual(written?.files, [{ path: '/etc/motd', content: 'hi\n', permissions: '0644' }])
  const secret = await file('id', '-----BEGIN OPENSSH PRIVATE KEY-----\n')
  for (const [wanted, flags] of [
    ['invalid-argument', { sshKey: [secret] }],
    ['invalid-argument', { sshKey: [await file('empty.pub', '\n')] }],
    ['invalid-argument', { sshKey: ['ssh-ed25519 AAAAshort'] }],
    ['not-found', { sshKey: [join(folder, 'gone.pub')] }],
    ['invalid-argument', { user: 'ann' }],
    ['invalid-argument', { passwordFile: await file('two', 'a\nb\n') }],
    ['invalid-argument', { passwordFile: await file('none', '\n') }],
    ['invalid-argument', { cloudInit: await file('latin1.yaml', Buffer.from([0x23, 0xff])) }],
    ['invalid-argument', { cloudInit: await file('large.yaml', '#'.repeat(600_000)) }],
    ['invalid-argument', { cloudInit: folder }],
    ['invalid-argument', { cloudInit: await file('wrong.yaml', '#cloud-config\npakages: []\n') }],
    ['invalid-argument', { ignition: await file('core.ign', '{}'), hostname: 'web' }],
    ['invalid-argument', { ignition: await file('core.ign', '{}') }],
    ['invalid-argument', { write: ['motd'] }],
    ['invalid-argument', { address: ['3=192.0.2.5/24'] }],
  ] as const)
    await assert.rejects(read(flags), code(wanted), JSON.stringify(flags))
})
