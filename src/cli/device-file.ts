/** The commands that take a device from a file: attach-device, detach-device, update-device. */
import type { Command } from 'commander'
import { parseDevice } from '../model/index.ts'
import { type AffectFlags, addAffectFlags } from './affect.ts'
import { changeDomain, type DeviceVerb, deviceVerbs, nameDevice } from './change-domain.ts'
import type { Context } from './context.ts'
import { loadText } from './documents.ts'
import { addExamples } from './help.ts'
import { inFile } from './report-error.ts'

export function configureDeviceFile(
  command: Command,
  context: Context,
  verb: DeviceVerb,
  { description, example }: { readonly description: string; readonly example: string },
): void {
  command
    .description(description)
    .argument('<domain>', 'name or uuid')
    .argument(
      '<file>',
      "XML as libvirt writes it (<disk>, <interface>, ...), YAML or JSON; '-' for standard input",
    )
  if (verb === 'updateDevice') command.option('--force', 'also against the will of the guest')
  addAffectFlags(command).action(
    async (domain: string, file: string, flags: AffectFlags & { readonly force?: true }) => {
      const { text, format, name } = await loadText(file)
      const device = readDevice(text, format, name)
      const { doing, done } = deviceVerbs[verb]
      await changeDomain(context, domain, {
        doing,
        flags,
        async run({ connection, call }) {
          const options = { ...call, device, ...(flags.force && { force: true }) }
          await connection.domains[verb](domain, options)
          return `${done} ${nameDevice(device)}`
        },
      })
    },
  )
  addExamples(command, [[`visor ${command.name()} web disk.xml --live --config`, example]])
}

function readDevice(text: string, format: 'xml' | 'yaml' | 'json', file: string) {
  try {
    return parseDevice(text, format)
  } catch (error) {
    throw inFile(error, file)
  }
}
