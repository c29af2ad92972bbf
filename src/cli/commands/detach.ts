import type { Command } from 'commander'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { detachable, findDevice, oneDevice } from '../find-device.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Unplug devices. The guest is asked, and lets them go when it can; what is on disks stays.')
    .argument('<domain>', 'name or uuid')
    .argument('<devices...>', 'alias, target of a disk, hardware address of a card, or image file')
  addAffectFlags(command).action((domain: string, words: string[], flags: AffectFlags) =>
    changeDomain(context, domain, {
      doing: 'Detaching from',
      flags,
      async run({ connection, call, definition }) {
        for (const word of words) {
          const device = oneDevice(findDevice(await definition(), word, detachable))
          await connection.domains.detachDevice(domain, { ...call, device })
        }
        return `no longer has ${words.join(', ')}`
      },
    }),
  )
  addExamples(command, [
    ['visor detach web vdb', 'until the next start'],
    ['visor detach web 52:54:00:12:34:56 --live --config', 'for good'],
  ])
}
