import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { VisorError } from '../error.ts'
import { parse } from '../parse.ts'
import * as s from '../schema.ts'
import { parseYaml } from '../yaml-read.ts'
import { reseed, seedOf } from './seed.ts'
import { FirstBoot, type FirstBootInput } from './settings.ts'

const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ann@home'
const hash = `$6$saltsalt$${'x'.repeat(86)}`
const mac = '52:54:00:00:00:01'

/** The texts by the names of their files. */
function write(input: FirstBootInput): Record<string, string> {
  const made = seedOf(parse(FirstBoot, { instanceId: 'id-1', ...input }, { code: 'invalid-argument' }))
  if ('ignition' in made) return { ignition: made.ignition }
  return Object.fromEntries(made.files.map(({ name, text }) => [name, text]))
}

const anyMap = s.record('settings', s.any('value'))
const read = (text = '') => parseYaml(anyMap, text)
const refuses = (input: FirstBootInput, wanted: RegExp) =>
  assert.throws(
    () => write(input),
    (error) => {
      assert.ok(error instanceof VisorError && error.code === 'invalid-argument', String(error))
      assert.match(`${error.message} ${error.remedy ?? ''}`, wanted)
      return true
    },
    JSON.stringify(input),
  )

test('keys, users, packages, files and commands are written as cloud-init has them', () => {
  const made = write({
    hostname: 'web',
    sshKeys: [key],
    passwordHash: hash,
    users: [
      { name: 'ann', sshKeys: [key], groups: ['adm'], shell: '/bin/bash' },
      { name: 'bob', passwordHash: hash, sudo: false },
    ],
    packages: ['nginx'],
    files: [{ path: '/etc/motd', content: 'one: two\n  three ü\n', owner: 'ann:adm' }],
    commands: ['echo "$HOME" > /x'],
    timezone: 'Europe/Vienna',
    locale: 'de_AT.UTF-8',
  })
  assert.equal(made['meta-data'], 'instance-id: id-1\nlocal-hostname: web\n')
  assert.equal(made['network-config'], undefined)
  assert.match(made['user-data'] ?? '', /^#cloud-config\n/u)
  assert.deepEqual(read(made['user-data']), {
    users: [
      'default',
      {
        name: 'ann',
        lock_passwd: true,
        sudo: 'ALL=(ALL) NOPASSWD:ALL',
        groups: ['adm'],
        shell: '/bin/bash',
        ssh_authorized_keys: [key],
      },
      { name: 'bob', lock_passwd: false, passwd: hash },
    ],
    ssh_authorized_keys: [key],
    password: hash,
    chpasswd: { expire: false },
    package_update: true,
    packages: ['nginx'],
    write_files: [
      {
        path: '/etc/motd',
        permissions: '0644',
        content: 'one: two\n  three ü\n',
        owner: 'ann:adm',
        defer: true,
      },
    ],
    runcmd: ['echo "$HOME" > /x'],
    timezone: 'Europe/Vienna',
    locale: 'de_AT.UTF-8',
  })
})

test("a user that is named stands alone, unless something is said of the image's own", () => {
  assert.deepEqual(read(write({ users: [{ name: 'ann', sshKeys: [key] }] })['user-data']).users, [
    { name: 'ann', lock_passwd: true, sudo: 'ALL=(ALL) NOPASSWD:ALL', ssh_authorized_keys: [key] },
  ])
  assert.equal(write({ hostname: 'web' })['user-data'], '#cloud-config\n{}\n')
})

test('addresses of cards', () => {
  const made = write({
    cards: [
      {
        mac: mac.toUpperCase(),
        addresses: ['192.0.2.5/24', '2001:db8::5/64'],
        gateways: ['192.0.2.1', '2001:db8::1'],
        routes: [{ to: '198.51.100.0/24', via: '192.0.2.2', metric: 50 }],
        nameservers: ['192.0.2.53'],
        searchDomains: ['example.org'],
        mtu: 1400,
      },
      { mac: '52:54:00:00:00:02' },
    ],
  })
  assert.deepEqual(read(made['network-config']), {
    version: 2,
    ethernets: {
      eth0: {
        match: { macaddress: mac },
        'set-name': 'eth0',
        dhcp4: false,
        addresses: ['192.0.2.5/24', '2001:db8::5/64'],
        gateway4: '192.0.2.1',
        gateway6: '2001:db8::1',
        routes: [{ to: '198.51.100.0/24', via: '192.0.2.2', metric: 50 }],
        nameservers: { addresses: ['192.0.2.53'], search: ['example.org'] },
        mtu: 1400,
      },
      eth1: { match: { macaddress: '52:54:00:00:00:02' }, 'set-name': 'eth1', dhcp4: true },
    },
  })
})

test('user-data is taken as it is, alone; with settings beside it as parts of a message', () => {
  const script = '#!/bin/sh\necho "größer"\n'
  assert.equal(write({ userData: script })['user-data'], script)
  const message = write({ userData: script, sshKeys: [key] })['user-data'] ?? ''
  assert.match(message, /^Content-Type: multipart\/mixed; boundary="(.+)"\nMIME-Version: 1\.0\n\n--\1\n/u)
  const parts = [...message.matchAll(/Content-Type: (\S+);.*\n.*base64\n\n([\s\S]*?)\n--/gu)]
  assert.deepEqual(
    parts.map(([, type, text = '']) => [type, Buffer.from(text, 'base64').toString()]),
    [
      ['text/cloud-config', `#cloud-config\nssh_authorized_keys:\n  - ${key}\n`],
      ['text/x-shellscript', script],
    ],
  )
  for (const text of [
    '#cloud-config\nautoinstall:\n  version: 1\n',
    '#cloud-config',
    '#cloud-config\r\npackages: [a]\r\n',
    '#cloud-config\nwrite_files:\n- path: /x\n  content: !!binary |\n    aGk=\n',
    '#include\nhttps://example.org/x\n',
    '## template: jinja\n#cloud-config\n{% if x %}\n',
    'Content-Type: multipart/mixed; boundary="x"\n\n',
    '#cloud-config\nnobody_knows_this_yet: 1\n',
  ])
    assert.equal(write({ userData: text })['user-data'], text)
})

test('what cloud-init would not take, or would read over, is refused', () => {
  refuses({ userData: 'packages: [a]\n' }, /begins with none.*#cloud-config/su)
  refuses({ userData: ' #cloud-config\n' }, /begins with none/u)
  refuses({ userData: '\ufeff#cloud-config\n' }, /begins with none/u)
  refuses({ userData: '#!/bin/sh\r\n' }, /line ends of Windows/u)
  refuses({ userData: '#cloud-config\npakages: [a]\n' }, /'pakages'.*'packages'/su)
  refuses({ userData: '#cloud-config\na: [1\n' }, /cannot be read.*line/u)
  refuses({ userData: '#cloud-config\n- a\n' }, /cannot be read/u)
  refuses({ userData: '#cloud-config\npackages: [a]\n', packages: ['b'] }, /'packages'.*one of the two/su)
  refuses({ userData: 'MIME-Version: 1.0\n', packages: ['b'] }, /stands alone/u)
  refuses({ userData: `#!${'x'.repeat(524_288)}` }, /userData/u)
  refuses({ metaData: '- a' }, /meta-data cannot be read/u)
  refuses({ networkConfig: 'ethernets: {}' }, /no version/u)
  refuses({ networkConfig: 'version: 2\nethernet: {}' }, /'ethernet'.*'ethernets'/su)
  refuses({ networkConfig: 'version: 1' }, /no list 'config'/u)
  refuses({ networkConfig: 'version: 2', cards: [{ mac }] }, /stands alone/u)
  refuses({ sshKeys: ['ssh-rsa nothing'] }, /public key/u)
  refuses({ sshKeys: [`${key}\n${key}`] }, /public key/u)
  refuses({ passwordHash: 'geheim' }, /hash of crypt/u)
  refuses({ users: [{ name: 'Ann' }] }, /name of a user/u)
  refuses({ instanceId: '' }, /instanceId/u)
  const card = (rest: object) => ({ cards: [{ mac, addresses: ['192.0.2.5/24'], ...rest }] })
  refuses(card({ addresses: ['192.0.2.500/24'] }), /no IP address/u)
  refuses(card({ addresses: ['192.0.2.5/33'] }), /prefix too long/u)
  refuses(card({ addresses: ['192.0.2.5'] }), /prefix/u)
  refuses(card({ gateways: ['2001:db8::1'] }), /ipv6/u)
  refuses(card({ gateways: ['192.0.2.1', '192.0.2.2'] }), /one gateway/u)
  refuses(card({ routes: [{ to: '198.51.100.1/24', via: '192.0.2.1' }] }), /no network/u)
  refuses(card({ nameservers: ['1.2.3'] }), /IP address/u)
})

test('raw network configurations of both versions', () => {
  for (const text of [
    'version: 1\nconfig: []\n',
    'network:\n  version: 2\n  ethernets: {}\n',
    'network: {config: disabled}\n',
  ])
    assert.equal(write({ networkConfig: text })['network-config'], text)
})

test('meta-data that is given gets the identity unless it has one', () => {
  assert.deepEqual(read(write({ hostname: 'web', metaData: 'a: [1]\n' })['meta-data']), {
    'instance-id': 'id-1',
    'local-hostname': 'web',
    a: [1],
  })
  assert.equal(read(write({ metaData: '{"instance-id": "mine"}' })['meta-data'])['instance-id'], 'mine')
  assert.throws(() => seedOf(parse(FirstBoot, { hostname: 'web' })), /whose first boot/u)
})

test('Ignition', () => {
  const text = '{"ignition":{"version":"3.4.0"},"passwd":{}}'
  assert.deepEqual(write({ ignition: text }), { ignition: text })
  refuses({ ignition: '{"ignition":{}}' }, /ignition\.version.*Butane/su)
  refuses({ ignition: 'ignition: {version: 3.4.0}' }, /cannot be read/u)
  refuses({ ignition: '{' }, /cannot be read/u)
  refuses({ ignition: text, hostname: 'web' }, /'hostname'/u)
  refuses({ ignition: text, packages: ['a'] }, /'packages'/u)
})

test('a copy of a machine has an identity, a name and hardware addresses of its own', () => {
  const { files } = seedOf(
    parse(FirstBoot, {
      instanceId: 'id-1',
      hostname: 'web',
      sshKeys: [key],
      cards: [{ mac, addresses: ['192.0.2.5/24'] }],
    }),
  ) as { files: { name: string; text: string }[] }
  const changes = {
    instanceId: 'id-2',
    hostname: { from: 'web', to: 'web2' },
    macs: new Map([[mac, '52:54:00:00:00:09']]),
  }
  const copied = Object.fromEntries(reseed(files, changes).map(({ name, text }) => [name, text]))
  assert.equal(copied['meta-data'], 'instance-id: id-2\nlocal-hostname: web2\n')
  assert.match(copied['network-config'] ?? '', /macaddress: "52:54:00:00:00:09"/u)
  assert.equal(copied['user-data'], files.find(({ name }) => name === 'user-data')?.text)
  const other = reseed(files, { ...changes, hostname: { from: 'db', to: 'db2' } })
  assert.match(other[0]?.text ?? '', /local-hostname: web\n/u)
})

test('whatever is given is written so that it is read again, or refused', () => {
  const text = fc.string({ unit: 'binary', maxLength: 200 })
  fc.assert(
    fc.property(fc.array(text, { maxLength: 5 }), text, (commands, content) => {
      const wanted = commands.filter((one) => one !== '')
      const made = write({ commands: wanted, files: [{ path: '/a', content }] })
      const { runcmd = [], write_files: files } = read(made['user-data'])
      assert.deepEqual(runcmd, wanted)
      assert.deepEqual(files, [{ path: '/a', permissions: '0644', content }])
    }),
  )
  fc.assert(
    fc.property(
      text,
      fc.constantFrom('userData', 'metaData', 'networkConfig', 'ignition'),
      (given, setting) => {
        try {
          write({ [setting]: setting === 'userData' ? `#cloud-config\n${given}` : given })
        } catch (error) {
          assert.ok(error instanceof VisorError && error.code === 'invalid-argument', String(error))
        }
      },
    ),
  )
})
