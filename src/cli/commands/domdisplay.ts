import type { Command } from 'commander'
import { type Graphics, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .description("Print where viewers find a running machine's screens: an address, or a socket.")
    .argument('<domain>', 'name or uuid')
    .action((domain: string) => domdisplay(context, domain))
  addExamples(command, [['remote-viewer $(visor domdisplay web)', 'look at it']])
}

async function domdisplay({ connected, output }: Context, domain: string): Promise<void> {
  const definition = await connected(({ domains }) => domains.describe(domain))
  const displays = definition.devices.graphics.flatMap(displayOf)
  if (displays.length === 0)
    throw new VisorError('invalid-state', `Domain '${definition.name}' has no screen that can be reached.`, {
      remedy: "Start it, or give it a screen ('graphics').",
    })
  output.print(displays, () => displays.join('\n'))
}

/** As virsh prints it: VNC's displays count from port 5900. */
export function displayOf({ type, socket, port, listen, listens }: Graphics): string[] {
  if (type !== 'vnc' && type !== 'spice') return []
  if (socket !== undefined) return [`${type}+unix://${socket}`]
  if (port === undefined || port < 0) return []
  const address = listens[0]?.address ?? listen ?? '127.0.0.1'
  const host = address.includes(':') && !address.startsWith('[') ? `[${address}]` : address
  return [`${type}://${host}:${type === 'vnc' ? port - 5900 : port}`]
}
