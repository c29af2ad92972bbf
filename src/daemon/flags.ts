/** The command line of visord. */
import { parseArgs } from 'node:util'
import { VisorError } from '../model/index.ts'

export interface Flags {
  readonly stateDir?: string
  readonly runtimeDir?: string
  readonly config?: string
  /** As in the configuration; they win over it. */
  readonly overrides: Readonly<Record<string, unknown>>
  readonly action: 'run' | 'help' | 'version' | 'check-config'
}

export const help = `visord runs and manages the virtual machines and containers of this host.

Usage: visord [flags]

  --config FILE         configuration (VISOR_CONFIG)
  --state-dir DIR       what survives a power cut: definitions, images (VISOR_STATE_DIR)
  --runtime-dir DIR     what lives as long as the boot: sockets (VISOR_RUNTIME_DIR)
  --listen HOST:PORT    HTTP over TCP; port 0 takes a free one
  --no-tcp              only the unix socket
  --drivers LIST        drivers to open, with commas: qemu,v86,test
  --log-level LEVEL     debug, info, warn or error
  --log-format FORMAT   json or pretty
  --check-config        tells whether the configuration is right, and ends
  --version             tells the version, and ends
  --help                tells this, and ends

As root the directories are /var/lib/visor and /run/visor, and the configuration /etc/visor/visord.yaml;
for others they are under the XDG directories of the user. SIGTERM and SIGINT stop visord in good order,
a second one at once; its guests go on, and are found again at the next start. SIGHUP has logLevel,
socketAccess and the token read again, and all else at the next start; from a terminal it stops visord.

Examples:
  visord
  visord --state-dir ~/lab --runtime-dir /tmp/lab --listen 127.0.0.1:0 --drivers test
  visord --check-config --config ./visord.yaml
`

/** Reads the flags; fails with `invalid-argument` on one that is unknown or has no value. */
export function parseFlags(args: readonly string[]): Flags {
  const values = parse(args)
  const { 'log-level': logLevel, 'log-format': logFormat, listen, drivers } = values
  if (values['no-tcp'] && listen !== undefined) throw usage('--no-tcp and --listen exclude each other.')
  const tcp = values['no-tcp'] ? 'none' : listen
  const overrides = {
    ...(tcp !== undefined && { listen: tcp }),
    ...(drivers !== undefined && { drivers: drivers.split(',').filter(Boolean) }),
    ...(logLevel !== undefined && { logLevel }),
    ...(logFormat !== undefined && { logFormat }),
  }
  return {
    ...(values['state-dir'] !== undefined && { stateDir: values['state-dir'] }),
    ...(values['runtime-dir'] !== undefined && { runtimeDir: values['runtime-dir'] }),
    ...(values.config !== undefined && { config: values.config }),
    overrides,
    action: values.help
      ? 'help'
      : values.version
        ? 'version'
        : values['check-config']
          ? 'check-config'
          : 'run',
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        config: { type: 'string' },
        'state-dir': { type: 'string' },
        'runtime-dir': { type: 'string' },
        listen: { type: 'string' },
        'no-tcp': { type: 'boolean' },
        drivers: { type: 'string' },
        'log-level': { type: 'string' },
        'log-format': { type: 'string' },
        'check-config': { type: 'boolean' },
        version: { type: 'boolean', short: 'V' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error))
  }
}

function usage(message: string): VisorError {
  return new VisorError('invalid-argument', message, { remedy: "See 'visord --help'." })
}
