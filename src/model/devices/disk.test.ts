import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { definitionFormats, formatDefinition, parseDefinition } from '../index.ts'

/** As libvirt 9 printed it. */
const printed = readFileSync(
  join(import.meta.dirname, '../../../test/fixtures/disks/libvirt-disks.xml'),
  'utf8',
)

test('disks of all kinds of sources are printed as libvirt prints them, in every format the same', () => {
  const definition = parseDefinition(printed)
  assert.equal(formatDefinition(definition, 'xml'), printed)
  for (const format of definitionFormats)
    assert.deepEqual(parseDefinition(formatDefinition(definition, format), format), definition, format)
})

test('nothing of them is left unknown but what no driver honours', () => {
  const { devices } = parseDefinition(printed)
  const unknown = [devices.disks, devices.controllers, devices.filesystems].flatMap((list) =>
    list.flatMap((one) => one.unknown?.map(({ path }) => path) ?? []),
  )
  assert.deepEqual(unknown, ['@snapshot', '@rawio', 'transient/@shareBacking'])
})

test('what a disk is based on goes as deep as it likes', () => {
  const { disks } = parseDefinition(printed).devices
  assert.equal(disks[0]?.backingStore?.backingStore?.protocol, 'nbd')
  assert.deepEqual(disks[0]?.backingStore?.backingStore?.backingStore, { hosts: [], cookies: [] })
})
