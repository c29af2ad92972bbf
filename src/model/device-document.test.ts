import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatDevice, parseDevice, VisorError } from './index.ts'

const disk = `<disk type='file' device='disk'>
  <driver name='qemu' type='qcow2'/>
  <source file='/srv/a, b.qcow2'/>
  <target dev='vdb' bus='virtio'/>
</disk>
`

test("a device is libvirt's element alone, and comes back as it was", () => {
  const device = parseDevice(`<?xml version='1.0'?>\n<!-- mine -->\n${disk}`)
  assert.equal(device.disks[0]?.target, 'vdb')
  assert.equal(formatDevice(device, 'xml'), disk)
  for (const format of ['xml', 'yaml', 'json'] as const)
    assert.deepEqual(parseDevice(formatDevice(device, format)), device)
  assert.deepEqual(parseDevice(`<devices>${disk}</devices>`), device)
})

test('YAML needs to say which kind it is', () => {
  assert.equal(parseDevice('interfaces:\n  - type: user\n').interfaces[0]?.type, 'user')
})

const refused = (text: string) => {
  try {
    parseDevice(text)
  } catch (error) {
    assert.ok(error instanceof VisorError && error.code === 'invalid-definition', String(error))
    return error
  }
  return assert.fail(`accepted: ${text}`)
}

test('mistakes are told with their place in the text', () => {
  const { line, column, message } = refused(disk.replace('vdb', '..'))
  assert.deepEqual([line, column], [4, 11], message)
  assert.deepEqual([refused('\n<domain/>').line, refused('\n<domain/>').column], [2, 1])
  assert.match(refused('<disk type="file"><target/></disk>').message, /target/u)
})

test('exactly one device is wanted', () => {
  assert.match(refused('<devices/>').message, /no device/u)
  assert.match(refused(`<devices>${disk}${disk.replace('vdb', 'vdc')}</devices>`).message, /2 devices/u)
  assert.match(refused('emulator: /usr/bin/qemu').message, /no device/u)
})
