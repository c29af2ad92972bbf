import type { GuestProgram } from '../../model/index.ts'
import type { Context } from '../context.ts'

/** What a program in a guest printed, as it is, and its exit code as that of the command. */
export function printProgram(context: Context, ended: GuestProgram): void {
  context.output.print(ended, () => '')
  if (!context.options.json) {
    // As they are: they need be no text.
    process.stdout.write(Buffer.from(ended.stdout, 'base64'))
    process.stderr.write(Buffer.from(ended.stderr, 'base64'))
  }
  if (ended.truncated) context.output.note('It printed more than is kept of it.')
  context.failWith(exitCodeOf(ended))
}

/** As a shell has it: 128 and the signal for one that was killed. */
const exitCodeOf = ({ exitCode, signal }: GuestProgram): number =>
  exitCode ?? (signal === undefined ? 0 : 128 + signal)
