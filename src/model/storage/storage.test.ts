import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  formatPoolDefinition,
  formatVolumeDefinition,
  parsePoolDefinition,
  parseVolumeDefinition,
} from '../index.ts'

const fixtures = join(import.meta.dirname, '../../../test/fixtures')
const message = (wanted: RegExp) => ({ code: 'invalid-definition', message: wanted })

for (const file of readdirSync(join(fixtures, 'pools')))
  test(`the pool ${file} is printed as it was read`, () => {
    const text = readFileSync(join(fixtures, 'pools', file), 'utf8')
    const definition = parsePoolDefinition(text)
    assert.equal(formatPoolDefinition(definition, 'xml'), text)
    for (const format of ['yaml', 'json'] as const)
      assert.deepEqual(parsePoolDefinition(formatPoolDefinition(definition, format), format), definition)
  })

for (const file of readdirSync(join(fixtures, 'volumes')))
  test(`the volume ${file} is printed as it was read`, () => {
    const text = readFileSync(join(fixtures, 'volumes', file), 'utf8')
    const definition = parseVolumeDefinition(text)
    assert.equal(formatVolumeDefinition(definition, 'xml'), text)
    for (const format of ['yaml', 'json'] as const)
      assert.deepEqual(parseVolumeDefinition(formatVolumeDefinition(definition, format), format), definition)
  })

test('options in namespaces of their own are read and printed with these', () => {
  const text = `<pool type='netfs' xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0'>
  <name>nfs</name>
  <capacity unit='bytes'>1</capacity>
  <source><host name='h'/><dir path='/e'/></source>
  <target><path>/mnt</path></target>
  <fs:mount_opts><fs:option name='sync'/><fs:option name='vers=4.2'/></fs:mount_opts>
</pool>`
  const definition = parsePoolDefinition(text)
  assert.deepEqual(definition.mountOptions, ['sync', 'vers=4.2'])
  const printed = formatPoolDefinition(definition, 'xml')
  assert.match(printed, /<fs:mount_opts xmlns:fs='http:\/\/libvirt.org\/schemas\/storagepool\/fs\/1.0'>/u)
  assert.deepEqual(parsePoolDefinition(printed), definition)
})

test('a pool needs what its type needs, and nothing else', () => {
  for (const [text, wanted] of [
    [
      "<pool type='dir'><name>a</name></pool>",
      /\/pool\/target\/path: must be given for a pool of type 'dir'/u,
    ],
    [
      "<pool type='dir'><name>a</name><source><host name='h'/></source><target><path>/a</path></target></pool>",
      /\/pool\/source\/host: means nothing for a pool of type 'dir'/u,
    ],
    [
      "<pool type='fs'><name>a</name><source><device path='/dev/x'/><device path='/dev/y'/></source><target><path>/a</path></target></pool>",
      /must be one for a pool of type 'fs'/u,
    ],
    [
      "<pool type='dir'><name>a</name><target><path>/a/../b</path></target></pool>",
      /named without '\.' and '\.\.'/u,
    ],
    ["<pool type='dir'><name>a</name><target><path>/</path></target></pool>", /a folder of its own/u],
    ["<pool type='tape'><name>a</name></pool>", /type/u],
    ["<pool type='dir'><name>a/b</name><target><path>/a</path></target></pool>", /name/u],
    [
      "<pool type='dir'><name>a</name><target><path>/a</path></target><fs:mount_opts xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0'><fs:option name='sync'/></fs:mount_opts></pool>",
      /needs a pool of type 'fs' or 'netfs'/u,
    ],
  ] as const)
    assert.throws(() => parsePoolDefinition(text), message(wanted))
})

test('options of mount cannot bring others with them', () => {
  const pool = (option: string) =>
    `type: netfs\nname: a\npath: /m\nsource: {hosts: [{name: h}], directory: /e}\nmountOptions: ['${option}']\n`
  assert.deepEqual(parsePoolDefinition(pool('vers=4.1')).mountOptions, ['vers=4.1'])
  for (const option of ['a,suid', 'a b', ''])
    assert.throws(() => parsePoolDefinition(pool(option)), message(/mountOptions/u))
})

test('settings of qcow2 are of qcow2', () => {
  const volume = (more: string) => `name: a\ncapacity: 1GiB\n${more}\n`
  for (const [more, wanted] of [
    ['format: raw\ncompat: "1.1"', /compat: needs the format 'qcow2'/u],
    ['format: qcow2\ncluster: 3KiB', /clusterBytes: must be a power of two/u],
    ['format: qcow2\ncompat: "0.10"\nextendedL2: true', /must be '1.1' for its features/u],
    ['encryption: {format: luks}', /must name the secret/u],
  ] as const)
    assert.throws(() => parseVolumeDefinition(volume(more)), message(wanted))
  for (const name of ['../a', '.a', 'a/b', '', 'x'.repeat(256)])
    assert.throws(() => parseVolumeDefinition(JSON.stringify({ name })), message(/name/u))
})
