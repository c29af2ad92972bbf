import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { version } from '../version.ts'

export function configure(command: Command, context: Context): void {
  command
    .description('Show the version of this command, and with --daemon of what it talks to.')
    .option('--daemon', 'also that of the daemon, and of the hypervisors')
    .action(async ({ daemon }: { daemon?: true }) => {
      const { output } = context
      const far = daemon ? await askDaemon(context) : undefined
      const versions = { visor: version, node: process.versions.node, ...far }
      output.print(versions, () => {
        const lines = [`visor ${version}`, ...(far ? [`daemon ${far.daemon}`] : [])]
        for (const [driver, found] of Object.entries(far?.drivers ?? {})) lines.push(`${driver} ${found}`)
        return `${lines.join('\n')}\n`
      })
    })
  addExamples(command, [['visor version --daemon', 'both ends, and the hypervisors']])
}

async function askDaemon({ connected }: Context) {
  return connected(async ({ host }) => {
    const [info, capabilities] = await Promise.all([host.info(), host.capabilities()])
    const drivers = Object.fromEntries(capabilities.map((one) => [one.driver, one.version ?? '']))
    return { daemon: info.visor, drivers }
  })
}
