import type { Command } from 'commander'
import { type DomainDefinition, VisorError } from '../../model/index.ts'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { type Found, findDevice, oneDevice } from '../find-device.ts'
import { addExamples } from '../help.ts'

interface Flags extends AffectFlags {
  readonly mac?: string
}

export function configure(command: Command, context: Context): void {
  command
    .description('Unplug a network card.')
    .argument('<domain>', 'name or uuid')
    .argument('<type>', 'kind of its connection: user, network, bridge, ...')
    .option('--mac <address>', 'its hardware address, where there are several of that type')
  addAffectFlags(command).action((domain: string, type: string, flags: Flags) =>
    changeDomain(context, domain, {
      doing: 'Detaching a network card from',
      flags,
      async run({ connection, call, definition }) {
        const found = choose(await definition(), type, flags.mac)
        await connection.domains.detachDevice(domain, { ...call, device: oneDevice(found) })
        return `no longer has the card ${found.device.mac}`
      },
    }),
  )
  addExamples(command, [['visor detach-interface web user --mac 52:54:00:12:34:56', 'this one']])
}

function choose(definition: DomainDefinition, type: string, mac: string | undefined): Found<'interfaces'> {
  const fitting = definition.devices.interfaces.filter((one) => one.type === type)
  const of = { ...definition, devices: { ...definition.devices, interfaces: fitting } }
  if (mac !== undefined) return findDevice(of, mac, ['interfaces'])
  const [device, another] = fitting
  if (device && !another) return { kind: 'interfaces', device }
  throw new VisorError(
    device ? 'invalid-argument' : 'not-found',
    `Domain '${definition.name}' has ${device ? `${fitting.length} network cards` : 'no network card'} of type '${type}'.`,
    { remedy: device ? `Name one with --mac: ${fitting.map((one) => one.mac).join(', ')}.` : undefined },
  )
}
