import type { Command } from 'commander'
import { formatDevice, parseDevice } from '../../model/index.ts'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { findDevice, oneDevice } from '../find-device.ts'
import { addExamples } from '../help.ts'

interface Flags extends AffectFlags {
  readonly printXml?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description('Unplug a disk. What is on it stays.')
    .argument('<domain>', 'name or uuid')
    .argument('<target>', 'its target, alias or image')
    .option('--print-xml', 'only print the disk, as XML')
  addAffectFlags(command).action(async (domain: string, target: string, flags: Flags) => {
    if (flags.printXml)
      return context.connected(async ({ domains }) => {
        const found = findDevice(await domains.describe(domain), target, ['disks'])
        const devices = parseDevice(JSON.stringify(oneDevice(found)), 'json')
        context.output.print(devices, () => formatDevice(devices, 'xml'))
      })
    return changeDomain(context, domain, {
      doing: 'Detaching a disk from',
      flags,
      async run({ connection, call, definition }) {
        const found = findDevice(await definition(), target, ['disks'])
        await connection.domains.detachDevice(domain, { ...call, device: oneDevice(found) })
        return `no longer has ${found.device.target}`
      },
    })
  })
  addExamples(command, [['visor detach-disk web vdb --live --config', 'now and at the next start']])
}
