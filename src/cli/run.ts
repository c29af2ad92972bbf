import { expandAlias, findCommand } from './aliases.ts'
import { version } from './version.ts'

/** Two presses of Ctrl-C: the first gives the command up in good order, the second ends it at once. */
function listenForCancel(): AbortController {
  const abort = new AbortController()
  const onSignal = () => {
    if (abort.signal.aborted) process.exit(130)
    abort.abort()
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal)
  return abort
}

/**
 * Runs the `visor` command. Resolves to the exit code when everything is written; never rejects. `visor version`
 * answers before anything else is loaded.
 */
export async function runCommand(given: readonly string[] = process.argv.slice(2)): Promise<number> {
  // `visor events | head -1`: whoever reads has gone, so the work is over.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
  const args = expandAlias(given)
  if (args.length === 1 && ['version', '--version', '-V'].includes(args[0] ?? '')) {
    process.stdout.write(`visor ${version}\n`)
    return 0
  }
  const { runProgram } = await import('./program.ts')
  return runProgram(args, findCommand(args), listenForCancel().signal)
}
