/**
 * For tests, in a mount namespace of its own: a host on which `apt-get update` was never run. Prints what the
 * packages are that a micro guest is made of.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runChecked } from '../../host/index.ts'
import { withPackages } from '../packages.ts'

export const emptyPackageLists = import.meta.filename

async function look(): Promise<void> {
  await runChecked('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', '/var/lib/apt/lists'])
  const directory = await mkdtemp(join(tmpdir(), 'visor-lists-'))
  try {
    const arch = process.arch === 'arm64' ? 'arm64' : 'amd64'
    const fetched = await withPackages({ arch, directory }, async (index) => {
      // As whoever looks for the first of several that there is.
      if (!(await index.dependencies('busybox-static'))) throw new Error('There is no such package.')
      return index.fetch(['busybox-static'])
    })
    process.stdout.write(`${JSON.stringify(fetched.map((one) => one.package))}\n`)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

if (import.meta.main) await look()
