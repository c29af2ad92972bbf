import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseBackup, parseCheckpoint, parseDefinition, parseSnapshot } from '../model/index.ts'
import { backupRequest, checkpointRequest, snapshotRequest } from './requests.ts'

const machine = parseDefinition(
  JSON.stringify({
    type: 'qemu',
    name: 'web',
    memoryKiB: 65536,
    devices: {
      disks: [
        { file: '/a', target: 'vda' },
        { file: '/b', target: 'vdb', format: 'qcow2' },
        { file: '/c.iso', target: 'sda', device: 'cdrom', bus: 'sata' },
      ],
    },
  }),
)
const snapshot = (xml: string) =>
  snapshotRequest(parseSnapshot(`<domainsnapshot>${xml}</domainsnapshot>`), machine)
const checkpoint = (xml: string) =>
  checkpointRequest(parseCheckpoint(`<domaincheckpoint>${xml}</domaincheckpoint>`), machine)
const backup = (attributes: string, xml: string) =>
  backupRequest(parseBackup(`<domainbackup ${attributes}>${xml}</domainbackup>`), machine)

test('what a snapshot in XML asks for', () => {
  assert.deepEqual(snapshot(''), {})
  assert.deepEqual(
    snapshot(`<name>n</name><description>d</description><memory snapshot='external' file='/m'/>
      <disks><disk name='vda' snapshot='external' type='file'><driver type='qcow2'/><source file='/o'/></disk>
      <disk name='/b' snapshot='no'/></disks><cookie><c/></cookie><active>1</active>`),
    {
      name: 'n',
      description: 'd',
      kind: 'external',
      memoryFile: '/m',
      disks: ['vda'],
      overlays: [{ disk: 'vda', file: '/o' }],
    },
  )
  assert.deepEqual(snapshot("<memory snapshot='no'/><disks><disk name='vda' snapshot='internal'/></disks>"), {
    kind: 'internal',
    diskOnly: true,
  })
})

test('what a snapshot in XML cannot have is refused by name', () => {
  const refusals: [string, RegExp][] = [
    ["<disk name='vda' snapshot='manual'/>", /manual/u],
    ["<disk name='vda' snapshot='external' type='block'><source dev='/dev/x'/></disk>", /no file/u],
    [
      "<disk name='vda' snapshot='external' type='network'><source protocol='nbd'/></disk>",
      /source\/@protocol/u,
    ],
    ["<disk name='vda' snapshot='external'><driver type='qed'/></disk>", /'qed'/u],
    ["<disk name='vda' snapshot='external'/><disk name='vdb' snapshot='internal'/>", /all its disks/u],
    ["<disk name='vdz'/>", /no disk 'vdz'/u],
  ]
  for (const [disk, message] of refusals) assert.throws(() => snapshot(`<disks>${disk}</disks>`), { message })
  assert.throws(() => snapshot('<revertDisks/>'), { code: 'unsupported-config', message: /revertDisks/u })
})

test('what a checkpoint and a backup in XML ask for', () => {
  assert.deepEqual(checkpoint('<name>one</name>'), { name: 'one' })
  assert.deepEqual(
    checkpoint(
      "<name>one</name><disks><disk name='vda' checkpoint='no'/><disk name='vdb' bitmap='one'/></disks>",
    ),
    { name: 'one', disks: ['vdb'] },
  )
  assert.throws(() => checkpoint("<name>one</name><disks><disk name='vdb' bitmap='two'/></disks>"), /bitmap/u)
  assert.deepEqual(
    backup(
      '',
      `<incremental>one</incremental><disks><disk name='vdb' type='file' backupmode='incremental'><target file='/t'/>
      <driver type='qcow2'/></disk><disk name='vda' backup='no'/></disks>`,
    ),
    { mode: 'push', since: 'one', disks: [{ disk: 'vdb', file: '/t' }] },
  )
  assert.deepEqual(
    backup(
      "mode='pull'",
      `<server transport='unix' socket='/s'/><disks><disk name='vdb' exportname='e'/></disks>`,
    ),
    { mode: 'pull', server: '/s', disks: [{ disk: 'vdb', export: 'e' }] },
  )
  assert.deepEqual(backup("mode='pull'", "<server name='localhost' port='1'/>"), {
    mode: 'pull',
    server: 'localhost:1',
  })
  assert.throws(() => backup("mode='pull'", ''), /not where/u)
  assert.throws(() => backup("mode='pull'", "<server tls='yes' name='h'/>"), /TLS/u)
  assert.throws(() => backup('', "<disks><disk name='vdb'><driver type='raw'/></disk></disks>"), /'raw'/u)
})
