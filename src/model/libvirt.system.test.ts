/** What is printed, told to libvirt itself: its test driver lives inside virsh and needs no daemon. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  diffDefinitions,
  formatCheckpoint,
  formatDefinition,
  formatSnapshot,
  parseCheckpoint,
  parseDefinition,
  parseSnapshot,
} from './index.ts'

const samples = join(import.meta.dirname, '../../test/fixtures/definitions')

function missingVirsh(): string | false {
  try {
    execFileSync('virsh', ['-q', '-c', 'test:///default', 'uri'], { stdio: 'ignore' })
    return false
  } catch {
    return 'virsh with its test driver is not here: install libvirt-clients'
  }
}

/** What virsh prints after these commands; each `FILE` in them is a file with one of the texts. */
function askLibvirt(commands: (...files: string[]) => string, ...texts: string[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'visor-libvirt-'))
  try {
    const files = texts.map((text, index) => {
      const file = join(folder, `${index}.xml`)
      writeFileSync(file, text)
      return file
    })
    return execFileSync('virsh', ['-q', '-c', 'test:///default', commands(...files)], { encoding: 'utf8' })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** From an element on. */
const from = (output: string, element: string) =>
  `${output.slice(output.lastIndexOf(`<${element}>`)).trimEnd()}\n`

/** The definition after it went through libvirt, as it printed it. */
function throughLibvirt(name: string, xml: string): string {
  const output = askLibvirt((file) => `define ${file}; dumpxml ${name}`, xml)
  return `${output.slice(output.indexOf('<domain')).trimEnd()}\n`
}

const skip = missingVirsh()
for (const file of readdirSync(samples))
  test(`libvirt accepts what is printed, and its own print comes back unchanged: ${file}`, { skip }, () => {
    const definition = {
      ...parseDefinition(readFileSync(join(samples, file), 'utf8')),
      type: 'test' as const,
    }
    const printed = throughLibvirt(definition.name, formatDefinition(definition, 'xml'))
    const returned = parseDefinition(printed, 'xml')
    assert.equal(formatDefinition(returned, 'xml'), printed)
    // libvirt adds what it generates and spells foreign elements its own way, but changes nothing that is set.
    const changed = diffDefinitions(definition, returned).filter(
      ({ path, before }) => before !== undefined && path !== 'metadata' && !path.endsWith('unknown'),
    )
    assert.deepEqual(changed, [])
  })

const machine = `<domain type='test'>
  <name>web</name>
  <uuid>e58afd80-7f73-43f5-b48d-413c4b6cb1b7</uuid>
  <memory>65536</memory>
  <os><type>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><source file='/a/old'/><target dev='vda' bus='virtio'/></disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/><source file='/b'/><target dev='vdb' bus='virtio'/>
    </disk>
  </devices>
</domain>`

test('a snapshot that libvirt printed comes back unchanged, and libvirt takes what is printed', {
  skip,
}, () => {
  const asked = formatSnapshot(
    { name: 'first', description: 'a < b\nand more', disks: [{ name: 'vdb', snapshot: 'internal' }] },
    'xml',
  )
  const printed = from(
    askLibvirt(
      (domain, file) =>
        `define ${domain}; start web; snapshot-create web ${file}; snapshot-create-as web second; snapshot-create-as web third; snapshot-dumpxml web third; snapshot-dumpxml web first`,
      machine,
      asked,
    ),
    'domainsnapshot',
  )
  const first = parseSnapshot(printed)
  assert.equal(formatSnapshot(first, 'xml'), printed)
  assert.deepEqual(
    [first.name, first.description, first.state, first.memory, first.domain?.name],
    ['first', 'a < b\nand more', 'running', 'internal', 'web'],
  )
  assert.deepEqual(first.disks, [
    { name: 'vda', snapshot: 'internal' },
    { name: 'vdb', snapshot: 'internal' },
  ])
  // With a parent, files of its own and the definition of the next start, as only a redefinition has them.
  const whole = {
    ...first,
    name: 'fourth',
    parent: 'first',
    memory: 'external' as const,
    memoryFile: '/m,1',
    disks: [
      { name: 'vda', snapshot: 'external' as const, type: 'file' as const, format: 'qcow2', file: '/a/new' },
      { name: 'vdb', snapshot: 'no' as const },
    ],
  }
  const text = formatSnapshot({ ...whole, ...(whole.domain && { inactiveDomain: whole.domain }) }, 'xml')
  const kept = from(
    askLibvirt(
      (domain, one, two) =>
        `define ${domain}; snapshot-create web ${one} --redefine; snapshot-create web ${two} --redefine; snapshot-dumpxml web fourth`,
      machine,
      printed,
      text,
    ),
    'domainsnapshot',
  )
  assert.equal(kept, text)
  assert.equal(formatSnapshot(parseSnapshot(kept), 'xml'), kept)
})

test('a checkpoint that libvirt printed comes back unchanged', { skip }, () => {
  const asked = formatCheckpoint(
    { name: 'one', description: 'x', disks: [{ name: 'vda', checkpoint: 'no' }, { name: 'vdb' }] },
    'xml',
  )
  const printed = from(
    askLibvirt(
      (domain, file) =>
        `define ${domain}; start web; checkpoint-create web ${file}; checkpoint-create-as web two --diskspec vdb; checkpoint-dumpxml web two`,
      machine,
      asked,
    ),
    'domaincheckpoint',
  )
  const two = parseCheckpoint(printed)
  assert.equal(formatCheckpoint(two, 'xml'), printed)
  assert.deepEqual([two.name, two.parent], ['two', 'one'])
  assert.deepEqual(two.disks, [
    { name: 'vda', checkpoint: 'no' },
    { name: 'vdb', checkpoint: 'bitmap', bitmap: 'two' },
  ])
})
