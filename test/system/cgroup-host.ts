/**
 * A host with other control groups: run in a mount namespace of its own (`unshare --mount`), where it mounts
 * what its first argument says in place of /sys/fs/cgroup, then opens the driver as one daemon after another.
 * What it finds is one line of JSON.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { runChecked } from '../../src/host/index.ts'
import { openDriver } from '../conformance/open-driver.ts'
import { writeBootSector } from '../fixtures/boot-sector.ts'
import { guestCgroups } from '../fixtures/footprint.ts'
import { bootSectorMachines } from '../fixtures/machines.ts'

export type CgroupLayout = 'version 2 alone' | 'version 2, read-only' | 'none'

export interface CgroupFindings {
  /** Membership of the guest's process, as /proc has it. */
  readonly membership: string
  readonly cpuTimeNs: number
  /** Groups with the guest's uuid: while it ran, and after its end. */
  readonly groups: readonly string[]
  readonly left: readonly string[]
  readonly adopted: boolean
  readonly notes: readonly string[]
}

const root = '/sys/fs/cgroup'

async function mountLayout(layout: CgroupLayout): Promise<void> {
  await runChecked('umount', ['--recursive', root])
  if (layout === 'none') return
  await runChecked('mount', ['-t', 'cgroup2', 'none', root])
  if (layout === 'version 2 alone') return
  await runChecked('mount', ['--bind', root, root])
  await runChecked('mount', ['-o', 'remount,bind,ro', root])
}

async function look(directory: string): Promise<CgroupFindings> {
  const disk = await writeBootSector(join(directory, 'boot.raw'))
  let connection = await openDriver('qemu:///system', directory)
  const [capabilities] = (await connection.host.capabilities()) ?? []
  const { uuid } = await connection.domains.define(bootSectorMachines.qemu('grouped', disk))
  try {
    await connection.domains.start(uuid)
    const { pid } = await connection.domains.get(uuid)
    await connection.close()
    connection = await openDriver('qemu:///system', directory)
    const adopted = (await connection.domains.get(uuid)).pid === pid
    const [stats] = await connection.domains.stats({ domains: [uuid] })
    const membership = await readFile(`/proc/${pid}/cgroup`, 'utf8')
    const groups = await guestCgroups([uuid])
    await connection.domains.destroy(uuid)
    return {
      membership,
      cpuTimeNs: stats?.cpuTimeNs ?? 0,
      groups,
      left: await guestCgroups([uuid]),
      adopted,
      notes: capabilities?.notes ?? [],
    }
  } finally {
    if ((await connection.domains.get(uuid)).state !== 'shutoff') await connection.domains.destroy(uuid)
    await connection.close()
  }
}

const [, , layout, directory] = process.argv
if (import.meta.main && layout && directory) {
  await mountLayout(layout as CgroupLayout)
  console.log(JSON.stringify(await look(directory)))
}
