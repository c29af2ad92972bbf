import type { Command } from 'commander'
import type { Capabilities } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import type { Colours } from '../output.ts'
import { formatSection, joinWords, safe } from '../page.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Show what can run machines here, and which machines each of them can run.')
    .action(async () => {
      const { connected, output } = context
      const all = await connected((connection) => connection.host.capabilities())
      output.print(all, () => {
        if (output.quiet) return all.map(({ driver }) => `${driver}\n`).join('')
        return all.map((one) => formatDriver(one, output.colours)).join('\n')
      })
    })
  addExamples(command, [
    ['visor drivers', 'in words'],
    ["visor drivers --json | jq '.[].guests[].machines'", 'every machine type'],
  ])
}

const hostings: Record<Capabilities['hosting'], string> = {
  hosted: 'on this operating system',
  'bare-metal': 'on the bare machine',
  library: 'inside visor',
  remote: 'on another machine',
}

const kinds: Record<Capabilities['kind'], string> = {
  full: 'full virtualization',
  'hardware-assisted': 'hardware-assisted virtualization',
  paravirtualized: 'paravirtualization',
  'operating-system': 'containers of this operating system',
  emulation: 'emulation',
  none: 'runs nothing',
}

function formatDriver(
  { driver, version, kind, hosting, guests, notes }: Capabilities,
  colours: Colours,
): string {
  const words = `${kinds[kind]}, ${hostings[hosting]}`
  const lines = guests.map(
    ({ arch, osType, domainTypes, machines, cpuModels, defaultMachine, emulator }) =>
      [
        arch,
        joinWords([
          `${osType}, type ${domainTypes.join(' or ')}`,
          machines.length > 0 &&
            `${machines.length} machine types${defaultMachine ? ` (${defaultMachine})` : ''}`,
          cpuModels.length > 0 && counted(cpuModels.length, 'processor model'),
          safe(emulator),
        ]),
      ] as const,
  )
  return [
    `${colours.bold(driver)} ${version ?? ''}  ${colours.dim(words)}\n`,
    formatSection(colours, '', lines),
    ...notes.map((note) => `  ${colours.yellow('note')}        ${safe(note)}\n`),
  ].join('')
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
