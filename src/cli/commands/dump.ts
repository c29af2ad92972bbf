import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { withProgress } from '../progress.ts'

interface Flags {
  readonly format?: 'elf' | 'kdump-zlib' | 'kdump-lzo' | 'kdump-snappy'
  readonly destroy?: true
  readonly reset?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Write the memory of a machine to a file for a debugger, such as crash or gdb. It stands still meanwhile.',
    )
    .argument('<domain>', 'name or uuid')
    .argument('<file>', "where to, on the daemon's host")
    .addOption(
      new Option('--format <format>', 'format of the file')
        .choices(['elf', 'kdump-zlib', 'kdump-lzo', 'kdump-snappy'])
        .default('elf'),
    )
    .option('--destroy', 'take the power away afterwards')
    .addOption(new Option('--reset', 'press the reset button afterwards').conflicts('destroy'))
    .action((domain: string, file: string, flags: Flags) => dump(context, domain, resolve(file), flags))
  addExamples(command, [
    ['visor dump web /var/tmp/web.core', 'and the machine goes on'],
    ['visor dump web /var/tmp/web.core --reset', 'a guest that hangs, looked into later'],
  ])
}

async function dump(context: Context, domain: string, file: string, flags: Flags): Promise<void> {
  const { output, signal } = context
  const afterwards = flags.destroy ? 'destroy' : flags.reset ? 'reset' : 'resume'
  await context.connected(({ domains }) =>
    withProgress(output, `Dumping ${domain}`, signal, (call) =>
      domains.coreDump(domain, { ...call, file, afterwards, ...(flags.format && { format: flags.format }) }),
    ),
  )
  output.note(`${output.noteColours.green('✓')} ${file} has the memory of ${domain}`)
}
