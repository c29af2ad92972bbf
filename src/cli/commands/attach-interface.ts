import { type Command, Option } from 'commander'
import { type DevicesInput, formatDevice, parseDevice, VisorError } from '../../model/index.ts'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'

const types = ['user', 'network', 'bridge', 'direct', 'ethernet'] as const

interface Flags extends AffectFlags {
  readonly target?: string
  readonly mac?: string
  readonly model?: string
  readonly printXml?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description('Plug a network card in, as virsh does. visor attach says it shorter.')
    .argument('<domain>', 'name or uuid')
    .argument('<type>', types.join(', '))
    .argument('[source]', 'network, bridge or host link it is connected to')
    .option('--target <link>', 'name of the host side')
    .option('--mac <address>', 'hardware address; made by visor without')
    .addOption(new Option('--model <model>', 'model of the card').default('virtio'))
    .option('--print-xml', 'only print the card, as XML')
  addAffectFlags(command).action((domain: string, type: string, source: string | undefined, flags: Flags) =>
    attach(context, domain, buildInterface(type, source, flags), flags),
  )
  addExamples(command, [
    ['visor attach-interface web network default --live --config', 'now and at the next start'],
    ['visor attach-interface web user', 'until it is off'],
  ])
}

async function attach(context: Context, domain: string, device: DevicesInput, flags: Flags): Promise<void> {
  const parsed = parseDevice(JSON.stringify(device), 'json')
  if (flags.printXml) return context.output.print(parsed, () => formatDevice(parsed, 'xml'))
  await changeDomain(context, domain, {
    doing: 'Attaching a network card to',
    flags,
    async run({ connection, call }) {
      await connection.domains.attachDevice(domain, { ...call, device })
      return `has another network card${flags.mac ? `, ${flags.mac}` : ''}`
    },
  })
}

const sources: Readonly<Record<string, string>> = { network: 'network', bridge: 'bridge', direct: 'dev' }

function buildInterface(type: string, source: string | undefined, flags: Flags): DevicesInput {
  const field = sources[type]
  if (field !== undefined && source === undefined)
    throw new VisorError('invalid-argument', `A card of type '${type}' needs a source.`, {
      remedy: `Name it behind the type: visor attach-interface DOMAIN ${type} NAME`,
    })
  if (field === undefined && source !== undefined)
    throw new VisorError('invalid-argument', `A card of type '${type}' has no source.`)
  const { target, mac, model } = flags
  return { interfaces: [{ type, ...(field && { [field]: source }), target, mac, model }] } as DevicesInput
}
