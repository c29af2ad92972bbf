/** Hosts whose control groups are laid out otherwise than here, in mount namespaces of their own. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { runChecked } from '../../src/host/index.ts'
import { missing } from '../fixtures/machines.ts'
import type { CgroupFindings, CgroupLayout } from './cgroup-host.ts'

const layouts: readonly CgroupLayout[] = ['version 2 alone', 'version 2, read-only', 'none']

function cannotMount(): string | false {
  if (process.getuid?.() !== 0) return 'only root may mount control groups'
  const script = ['umount', '--recursive', '/sys/fs/cgroup']
  const tried = spawnSync('unshare', ['--mount', '--propagation', 'private', ...script], { encoding: 'utf8' })
  if (tried.error) return 'there is no unshare'
  return tried.status === 0 ? false : `no mount namespace can be had: ${tried.stderr.trim()}`
}

describe('control groups', { skip: missing('qemu') || cannotMount() }, () => {
  for (const layout of layouts)
    test(`a host with: ${layout}`, async () => {
      const directory = await mkdtemp(join(tmpdir(), 'visor-cgroup-'))
      try {
        const found = await lookAt(layout, directory)
        assert.equal(found.adopted, true)
        assert.ok(found.cpuTimeNs > 0)
        assert.deepEqual(found.left, [])
        const saysSo = found.notes.some((note) => /control group/u.test(note))
        if (layout === 'version 2 alone') {
          assert.match(found.membership, /^0::.*\/visor-guests\/qemu-/mu)
          assert.ok(found.groups.length > 0)
          assert.equal(saysSo, false)
        } else {
          assert.doesNotMatch(found.membership, /visor-guests/u)
          assert.deepEqual(found.groups, [])
          assert.equal(saysSo, true, `It says so: ${found.notes.join(' ')}`)
        }
      } finally {
        await rm(directory, { recursive: true, force: true })
      }
    })
})

async function lookAt(layout: CgroupLayout, directory: string): Promise<CgroupFindings> {
  const script = join(import.meta.dirname, 'cgroup-host.ts')
  const args = ['--mount', '--propagation', 'private', process.execPath, script, layout, directory]
  const { stdout } = await runChecked('unshare', args, { timeoutMs: 120_000 })
  return JSON.parse(stdout) as CgroupFindings
}
