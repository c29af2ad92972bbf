import { type Command, Option } from 'commander'
import type { Context } from '../context.ts'
import { eachDomain } from '../each-domain.ts'
import { addExamples } from '../help.ts'

export function configure(command: Command, context: Context): void {
  command
    .argument('<domains...>', 'names or uuids')
    .addOption(new Option('--mode <how>', 'how the guest is asked').choices(['auto', 'acpi', 'agent']))
    .action(async (domains: string[], { mode }: { mode?: 'auto' | 'acpi' | 'agent' }) => {
      await eachDomain(context, domains, {
        doing: 'Rebooting',
        done: 'was asked to reboot',
        run: ({ connection, name, call }) =>
          connection.domains.reboot(name, { ...call, ...(mode && { mode }) }),
      })
    })
  addExamples(command, [['visor reboot web', "as its guest's own reboot command would; reset does not ask"]])
}
