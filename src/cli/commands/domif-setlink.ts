import { Argument, type Command } from 'commander'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { findDevice, oneDevice } from '../find-device.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Plug the cable of a network card in, or out.')
    .argument('<domain>', 'name or uuid')
    .argument('<interface>', 'the card: its hardware address, alias or host side')
    .addArgument(new Argument('<state>', 'the cable').choices(['up', 'down']))
  addAffectFlags(command).action((domain: string, card: string, link: 'up' | 'down', flags: AffectFlags) =>
    changeDomain(context, domain, {
      doing: 'Changing the link of',
      flags,
      async run({ connection, call, definition }) {
        const found = findDevice(await definition(), card, ['interfaces'])
        await connection.domains.updateDevice(domain, { ...call, device: oneDevice(found, { link }) })
        return `has ${found.device.mac} ${link}`
      },
    }),
  )
  addExamples(command, [
    ['visor domif-setlink web 52:54:00:12:34:56 down', 'pull the cable'],
    ['visor domif-setlink web net0 up --live --config', 'and back in, for good'],
  ])
}
