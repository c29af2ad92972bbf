import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { missing } from '../fixtures/machines.ts'
import { conformMachine } from './machine.ts'
import { openDriver } from './open-driver.ts'

/** Why guests cannot be run by KVM here; false when they can, which the driver finds out by running one. */
async function withoutKvm(): Promise<string | false> {
  if (missing('kvm')) return missing('kvm')
  const directory = await mkdtemp(join(tmpdir(), 'visor-kvm-'))
  try {
    const connection = await openDriver('qemu:///system', directory)
    const capabilities = await connection.host.capabilities()
    await connection.close()
    const works = capabilities.some(({ guests }) =>
      guests.some(({ domainTypes }) => domainTypes.includes('kvm')),
    )
    return works ? false : capabilities.flatMap(({ notes }) => notes).join(' ')
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

conformMachine('kvm', 'qemu:///system', { without: await withoutKvm() })
