/** What is printed of networks, told to libvirt itself: its test driver lives inside virsh and needs no daemon. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseNetworkDefinition } from '../index.ts'

const samples = join(import.meta.dirname, '../../../test/fixtures/networks')
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
for (const file of readdirSync(samples))
  test(`libvirt prints ${file} as it is printed here`, { skip }, () => {
    const path = join(samples, file)
    const text = readFileSync(path, 'utf8')
    const { name } = parseNetworkDefinition(text)
    const output = virsh(
      'net-destroy default',
      'net-undefine default',
      `net-define ${path}`,
      `net-dumpxml ${name}`,
    )
    assert.equal(`${output.slice(output.indexOf('<network')).trimEnd()}\n`, text)
  })
