/** The command line of `npm start`. */
import { parseArgs } from 'node:util'
import { VisorError } from '../model/index.ts'

export interface Flags {
  readonly driver: 'auto' | 'qemu' | 'v86'
  readonly stateDir?: string
  readonly runtimeDir?: string
  readonly listen?: string
  /** End when the guest has booted. */
  readonly once: boolean
  readonly help: boolean
}

export const help = `npm start -- [flags]: sets everything up, runs visord and boots a first guest.

  --driver NAME        qemu, v86 (the embedded machine), or auto: qemu where it can run (the default)
  --state-dir DIR      where definitions and images are kept; .visor/state in the checkout without it
  --runtime-dir DIR    where sockets are; .visor/run in the checkout without it
  --listen HOST:PORT   address of the web page and of REST
  --once               stop everything when the guest has booted
  --help               this

Ctrl-C stops the guest and visord. Everything it makes is in .visor/; removing that folder removes it all.
`

const drivers = ['auto', 'qemu', 'v86'] as const

/** Fails with `invalid-argument` on a flag that is unknown or wrong. */
export function parseFlags(args: readonly string[], env: NodeJS.ProcessEnv = process.env): Flags {
  const values = parse(args)
  const driver = drivers.find((name) => name === (values.driver ?? 'auto'))
  if (!driver) throw usage(`There is no driver '${values.driver}' to start with.`)
  const stateDir = values['state-dir'] ?? env.VISOR_STATE_DIR
  const runtimeDir = values['runtime-dir'] ?? env.VISOR_RUNTIME_DIR
  return {
    driver,
    once: values.once ?? false,
    help: values.help ?? false,
    ...(stateDir !== undefined && { stateDir }),
    ...(runtimeDir !== undefined && { runtimeDir }),
    ...(values.listen !== undefined && { listen: values.listen }),
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        driver: { type: 'string' },
        'state-dir': { type: 'string' },
        'runtime-dir': { type: 'string' },
        listen: { type: 'string' },
        once: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error))
  }
}

function usage(message: string): VisorError {
  return new VisorError('invalid-argument', message, { remedy: "See 'npm start -- --help'." })
}
