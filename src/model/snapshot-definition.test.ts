import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  formatBackup,
  formatCheckpoint,
  formatSnapshot,
  parseBackup,
  parseCheckpoint,
  parseSnapshot,
} from './snapshot-definition.ts'

const backup = `<domainbackup mode='pull'>
  <incremental>one</incremental>
  <server transport='unix' socket='/run/s'/>
  <disks>
    <disk name='vda' backup='yes' type='file' exportname='a' exportbitmap='b'>
      <driver type='qcow2'/>
      <scratch file='/s'/>
    </disk>
    <disk name='vdb' backup='no'/>
  </disks>
</domainbackup>
`

test('a backup comes back unchanged, in each notation', () => {
  const parsed = parseBackup(backup)
  assert.equal(formatBackup(parsed, 'xml'), backup)
  for (const format of ['yaml', 'json', 'xml'] as const)
    assert.deepEqual(parseBackup(formatBackup(parsed, format), format), parsed)
})

test('notes of libvirt are read over, mistakes told with their place', () => {
  const snapshot = parseSnapshot(`<domainsnapshot><name>a</name><active>1</active>
    <cookie><cpu mode='custom'><x/></cpu></cookie><later/></domainsnapshot>`)
  assert.deepEqual(snapshot, { name: 'a', disks: [], unknown: [{ path: 'later', xml: '<later/>' }] })
  assert.equal(
    formatSnapshot(snapshot, 'xml'),
    '<domainsnapshot>\n  <name>a</name>\n  <later/>\n</domainsnapshot>\n',
  )
  assert.throws(() => parseSnapshot('<domainsnapshot>\n<state>asleep</state></domainsnapshot>'), {
    code: 'invalid-definition',
    message: /line 2/u,
  })
  assert.throws(() => parseSnapshot('<domain/>'), /not a <domainsnapshot>/u)
  const point = parseCheckpoint(
    "<domaincheckpoint><disks><disk name='a' size='7'/></disks></domaincheckpoint>",
  )
  assert.deepEqual(parseCheckpoint(formatCheckpoint(point, 'yaml')), point)
  assert.equal(point.disks[0]?.size, 7)
})
