/** What is printed, told to libvirt itself: its test driver lives inside virsh and needs no daemon. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { diffDefinitions, formatDefinition, parseDefinition } from './index.ts'

const samples = join(import.meta.dirname, '../../test/fixtures/definitions')

function missingVirsh(): string | false {
  try {
    execFileSync('virsh', ['-q', '-c', 'test:///default', 'uri'], { stdio: 'ignore' })
    return false
  } catch {
    return 'virsh with its test driver is not here: install libvirt-clients'
  }
}

/** The definition after it went through libvirt, as it printed it. */
function throughLibvirt(name: string, xml: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'visor-libvirt-'))
  try {
    const file = join(folder, 'domain.xml')
    writeFileSync(file, xml)
    const commands = `define ${file}; dumpxml ${name}`
    const output = execFileSync('virsh', ['-q', '-c', 'test:///default', commands], { encoding: 'utf8' })
    return `${output.slice(output.indexOf('<domain')).trimEnd()}\n`
  } finally {
    rmSync(folder, { recursive: true })
  }
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
