import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Disk, type DomainDefinitionInput, parse } from '../../../model/index.ts'
import { readMedium } from './disk-image.ts'
import { driveNode } from './disk-node.ts'
import { secretParts } from './disk-secrets.ts'

type DiskInput = NonNullable<NonNullable<DomainDefinitionInput['devices']>['disks']>[number]

/** The node of the storage itself. */
async function storage(more: Partial<DiskInput>): Promise<Record<string, unknown>> {
  const disk = parse(Disk, { type: 'network', target: 'vda', ...more })
  const image = await readMedium(disk)
  assert.ok(image)
  const {
    'node-name': name,
    'auto-read-only': _,
    discard: _d,
    ...file
  } = driveNode(disk, image, false).file as Record<string, unknown>
  assert.equal(name, 'vda-file')
  return file
}

const hosts = [{ name: 'server.example' }]
const secret = { type: 'iscsi', file: '/run/secret' } as const

const sources: [string, Partial<DiskInput>, Record<string, unknown>][] = [
  [
    'nbd',
    { protocol: 'nbd', name: 'x', tls: true, tlsHostname: 'other', hosts: [{ name: '::1', port: 1 }] },
    {
      driver: 'nbd',
      server: { type: 'inet', host: '::1', port: '1' },
      export: 'x',
      'tls-creds': 'vda-tls',
      'tls-hostname': 'other',
    },
  ],
  [
    'https, whose name is no part of another URL',
    { protocol: 'https', name: '/a?b#c/d e', query: 'q=1', sslVerify: false, timeoutSeconds: 5, hosts },
    { driver: 'https', url: 'https://server.example:443/a%3Fb%23c/d%20e?q=1', sslverify: false, timeout: 5 },
  ],
  [
    'iscsi with CHAP',
    {
      protocol: 'iscsi',
      name: 'iqn.2026-01.example:t/3',
      initiator: 'iqn.2026-01.example:me',
      auth: { username: 'me', secret },
      hosts,
    },
    {
      driver: 'iscsi',
      transport: 'tcp',
      portal: 'server.example:3260',
      target: 'iqn.2026-01.example:t',
      lun: 3,
      'initiator-name': 'iqn.2026-01.example:me',
      user: 'me',
      'password-secret': 'vda-auth',
    },
  ],
  [
    'rbd',
    { protocol: 'rbd', name: 'pool/space/image', snapshot: 's', configFile: '/ceph.conf', hosts },
    {
      driver: 'rbd',
      pool: 'pool',
      namespace: 'space',
      image: 'image',
      snapshot: 's',
      conf: '/ceph.conf',
      server: [{ host: 'server.example', port: '6789' }],
    },
  ],
  [
    'nfs',
    { protocol: 'nfs', name: '/export/a', user: '+1000', hosts },
    { driver: 'nfs', server: { type: 'inet', host: 'server.example' }, path: '/export/a', user: 1000 },
  ],
  [
    'ssh, whose key must be known',
    { protocol: 'ssh', name: '/a', sshUser: 'me', hosts },
    {
      driver: 'ssh',
      path: '/a',
      user: 'me',
      server: { host: 'server.example', port: '22' },
      'host-key-check': { mode: 'known_hosts' },
    },
  ],
  [
    'gluster',
    { protocol: 'gluster', name: 'volume/a/b', hosts },
    {
      driver: 'gluster',
      volume: 'volume',
      path: 'a/b',
      server: [{ type: 'inet', host: 'server.example', port: '24007' }],
    },
  ],
]
for (const [what, given, wanted] of sources)
  test(`a disk from ${what}`, async () => assert.deepEqual(await storage(given), wanted))

test('a secret is named by its file, and never said', () => {
  const disk = parse(Disk, {
    type: 'network',
    protocol: 'iscsi',
    name: 'x',
    target: 'vda',
    hosts,
    auth: { username: 'me', secret },
  })
  assert.deepEqual(secretParts(disk, 'vda', { secret: (name) => `/own/${name}` }), [
    { option: 'object', type: 'secret', fields: { id: 'vda-auth', file: '/run/secret' } },
  ])
})
