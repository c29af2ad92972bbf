import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { formatSection, safe } from '../page.ts'
import { formatKiB } from '../units.ts'

export function configure(command: Command, context: Context): void {
  command.description('Show the host that the machines run on.').action(async () => {
    const { connected, output } = context
    const { uri, ...info } = await connected(async (connection) => ({
      ...(await connection.host.info()),
      uri: connection.uri,
    }))
    const { colours } = output
    output.print({ ...info, uri }, () =>
      [
        `${colours.bold(safe(info.hostname) ?? '')}  ${info.arch}\n`,
        formatSection(colours, '', [
          ['processors', `${info.cpus}${info.cpuModel ? ` (${safe(info.cpuModel)})` : ''}`],
          ['memory', `${formatKiB(info.memoryKiB)}, ${formatKiB(info.freeMemoryKiB)} available`],
          ['kernel', safe(info.kernel)],
          ['visor', info.visor],
          ['address', uri],
        ]),
      ].join(''),
    )
  })
  addExamples(command, [['visor host', 'what visor doctor says more about']])
}
