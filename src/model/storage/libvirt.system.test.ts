/** What is printed of pools, told to libvirt itself: its test driver lives inside virsh and needs no daemon. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parsePoolDefinition, parseVolumeDefinition } from '../index.ts'

const fixtures = join(import.meta.dirname, '../../../test/fixtures')
const virsh = (...commands: string[]) =>
  execFileSync('virsh', ['-q', '-c', 'test:///default', commands.join('; ')], { encoding: 'utf8' })

function missingVirsh(): string | false {
  try {
    virsh('uri')
    return false
  } catch {
    return 'virsh with its test driver is not here: install libvirt-clients'
  }
}

const skip = missingVirsh()
/** Libvirt says how much there is, and prints a source that has nothing. */
const plain = (output: string, from: string) =>
  `${output.slice(output.indexOf(from)).trimEnd()}\n`
    .replace(/ {2}<(?:capacity|allocation|available) unit='bytes'>\d+<\/\w+>\n/gu, '')
    .replace(/ {2}<source>\n {2}<\/source>\n/u, '')

for (const file of readdirSync(join(fixtures, 'pools')))
  test(`libvirt prints the pool ${file} as it is printed here`, { skip }, () => {
    const path = join(fixtures, 'pools', file)
    const text = readFileSync(path, 'utf8')
    const { name } = parsePoolDefinition(text)
    assert.equal(plain(virsh(`pool-define ${path}`, `pool-dumpxml ${name}`), '<pool'), text)
  })

for (const file of readdirSync(join(fixtures, 'volumes')))
  test(`libvirt prints the volume ${file} as it is printed here`, { skip }, () => {
    const path = join(fixtures, 'volumes', file)
    const text = readFileSync(path, 'utf8')
    const { name } = parseVolumeDefinition(text)
    const output = virsh(`vol-create default-pool ${path}`, `vol-dumpxml ${name} default-pool`)
    assert.equal(`${output.slice(output.indexOf('<volume')).trimEnd()}\n`, text)
  })
