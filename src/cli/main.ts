/** The program `visor`: runs the command of this process's arguments and ends with its exit code. */
import { runCommand } from './run.ts'

process.exit(await runCommand())
