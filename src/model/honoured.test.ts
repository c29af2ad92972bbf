import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  checkHonoured,
  DomainDefinition,
  parse,
  parseDefinition,
  pathsOf,
  positionOf,
  VisorError,
} from './index.ts'

const xml = `<domain type='qemu' id='3'>
  <name>a</name>
  <memory unit='MiB'>64</memory>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source file='/a.img'/>
      <target dev='vda' bus='virtio'/>
      <backenddomain name='x'/>
    </disk>
    <rng model='virtio'><backend model='random'/></rng>
    <audio id='1' type='none'/>
  </devices>
  <seclabel type='none'/>
</domain>`
const disk = ['memoryKiB', 'devices.disks[].file', 'devices.disks[].target', 'devices.disks[].bus']
const check = (text: string, honoured: readonly string[]) => () =>
  checkHonoured(DomainDefinition, parseDefinition(text), honoured, 'driver v86')
const issuesOf = (run: () => void) => {
  try {
    run()
    return []
  } catch (error) {
    assert.ok(error instanceof VisorError && error.code === 'unsupported-config')
    return error.issues?.map(({ path, line }) => `${path} ${line}`)
  }
}

test('what a driver does not honour is told with path, XML and line', () => {
  assert.deepEqual(issuesOf(check(xml, disk)), [
    'devices.disks[0].cache 6',
    'devices.disks[0].unknown[0] 9',
    'devices.rngs[0] 11',
  ])
  assert.throws(check(xml, disk), (error: VisorError) => {
    assert.match(
      error.message,
      /^\/domain\/devices\/disk\[1\]\/driver\/@cache: cannot be set with driver v86 \(line 6, column 38\)/u,
    )
    assert.match(
      error.message,
      /\/domain\/devices\/disk\[1\]\/backenddomain: is not known to driver v86 \(line 9/u,
    )
    return true
  })
})

test('defaults, titles and inert content need no entry', () => {
  const text = xml
    .replace(" cache='none'", '')
    .replace(/ *<backenddomain.*\n/u, '')
    .replace(/<rng.*\n/u, '')
  check(text.replace('<name>', '<title>t</title><name>'), disk)()
  assert.throws(
    check(text.replace("<seclabel type='none'/>", "<seclabel type='static' model='x'/>"), disk),
    VisorError,
  )
  assert.throws(check(text.replace("id='1' type='none'", "id='1' type='pulseaudio'"), disk), VisorError)
})

test('an entry can take all below it, or only some values', () => {
  assert.deepEqual(issuesOf(check(xml, ['memoryKiB', 'devices.disks.*', 'devices.rngs[]'])), [
    'devices.disks[0].unknown[0] 9',
  ])
  assert.deepEqual(
    issuesOf(check(xml, [...disk, 'devices.rngs[].model', 'devices.disks[].cache=writeback|unsafe'])),
    ['devices.disks[0].cache 6', 'devices.disks[0].unknown[0] 9'],
  )
})

test('definitions without a text are told by path alone', () => {
  const definition = parse(DomainDefinition, { type: 'v86', name: 'a', memory: '64MiB', cpu: {} })
  assert.deepEqual(pathsOf(DomainDefinition, definition), ['memoryKiB', 'cpu'])
  assert.throws(() => checkHonoured(DomainDefinition, definition, ['memoryKiB'], 'driver v86'), {
    message: 'cpu: cannot be had with driver v86.',
  })
})

test('places are kept beside the definition, also when it is checked again', () => {
  const yaml = 'type: qemu\nname: a\nmemory: 64MiB\ndevices:\n  disks:\n    - target: vda\n      file: /a\n'
  const definition = parse(DomainDefinition, parseDefinition(yaml))
  assert.deepEqual(positionOf(definition, 'devices.disks[0].file'), { line: 7, column: 7 })
  assert.deepEqual(positionOf(definition, 'memoryKiB'), { line: 3, column: 1 })
  assert.deepEqual(positionOf(definition, 'devices.disks[0].bus'), { line: 6, column: 7 })
  assert.equal(positionOf({ ...definition }, 'name'), undefined)
})

test('what no description has is refused even by a driver that honours all the rest', () => {
  const file = join(import.meta.dirname, '../../test/fixtures/definitions/libvirt-test-driver.xml')
  const definition = parseDefinition(readFileSync(file, 'utf8'))
  const paths = pathsOf(DomainDefinition, definition)
  const unknown = paths.filter((path) => /\.unknown\[|^unknown\[/u.test(path))
  const honoured = paths
    .filter((path) => !unknown.includes(path))
    .map((path) => path.replace(/\[\d+\]/gu, '[]'))
  assert.throws(
    () => checkHonoured(DomainDefinition, definition, honoured, 'x'),
    (error: VisorError) =>
      error.message.includes('/domain/devices/interface[2]/virtualport: is not known') &&
      error.issues?.length === Math.min(20, unknown.length),
  )
})
