/** The configuration file of visord. */
import { readFileSync } from 'node:fs'
import { driverSchemes } from '../drivers/index.ts'
import { parseYaml, schema as s, VisorError } from '../model/index.ts'

const absolute = { pattern: /^\/[^\0\n]*$/u, patternName: 'an absolute path', maxLength: 4095 } as const

export const Config = s.object('Config', 'The configuration of visord', {
  listen: s.string("where to serve HTTP over TCP, HOST:PORT, or 'none'; 127.0.0.1:8430 without it", {
    optional: true,
    pattern: /^(none|(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5})$/u,
    patternName: "HOST:PORT, [IPV6]:PORT or 'none'",
  }),
  tls: s.object(
    'Tls',
    'What TCP is encrypted with',
    {
      certificate: s.string('PEM file with the certificate and its chain', absolute),
      key: s.string('PEM file with its private key', absolute),
    },
    { optional: true },
  ),
  allowUnencrypted: s.boolean('listen beyond the loopback without TLS: the token can then be overheard', {
    default: false,
  }),
  allowedHosts: s.array(
    'host names beside the loopback’s that requests over TCP may be for',
    s.string('name'),
    {
      default: [],
    },
  ),
  names: s.string(
    "where names of guests are answered by DNS to programs of this host, ADDRESS:PORT or ADDRESS, or 'none'; 127.0.0.83:53 without it",
    {
      optional: true,
      pattern: /^(none|(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?)$/u,
      patternName: "ADDRESS:PORT, [IPV6]:PORT or 'none'",
    },
  ),
  socketGroup: s.string('group whose members may use the unix socket', { optional: true, minLength: 1 }),
  socketAccess: s.choice(
    "what others than root and visord's own user may do over the unix socket",
    ['read', 'write', 'admin'],
    { default: 'admin' },
  ),
  drivers: s.array(
    'drivers to open, the preferred first',
    s.string('scheme, or a whole address such as test:///empty', {
      pattern: new RegExp(`^(${driverSchemes.join('|')})(:///[\\w?&=.-]*)?$`, 'u'),
      patternName: `one of ${driverSchemes.join(', ')}, or an address of one`,
    }),
    { default: ['qemu', 'v86'] },
  ),
  guestUser: s.string(
    'user that QEMU runs as, by name or number, when visord is root; each guest has one of its own without it',
    { optional: true, minLength: 1, pattern: /^[^:\s]+$/u, patternName: 'the name or number of a user' },
  ),
  guestUids: s.object(
    'GuestUids',
    'Numbers for the users of guests, which nobody else may have; 1879048192 and on without it',
    {
      first: s.integer('the first of them', { min: 1, max: 4_294_967_293 }),
      count: s.integer('how many, the most guests that run at once', { min: 1, max: 2 ** 31 }),
    },
    { optional: true },
  ),
  hooks: s.string(
    'program, or folder of programs, to run when a machine comes and goes; hooks beside the configuration without it',
    { optional: true, ...absolute },
  ),
  migration: s.object(
    'MigrationConfig',
    'How domains are moved to other hosts and received',
    {
      ports: s.object(
        'MigrationPorts',
        'Ports to receive on, two for each domain; 49152 to 49215 without it',
        {
          first: s.integer('the first of them', { min: 1, max: 65_535 }),
          last: s.integer('the last of them', { min: 1, max: 65_535 }),
        },
        { optional: true },
      ),
      certificates: s.string(
        'folder with ca-cert.pem, server-cert.pem, server-key.pem, client-cert.pem and client-key.pem; /etc/pki/qemu without it',
        { ...absolute, optional: true },
      ),
      insistSeconds: s.integer(
        'how long the other host is asked whether it runs a domain that was handed over, before the domain stands still here; 20 without it',
        { min: 1, max: 3600, optional: true },
      ),
    },
    { optional: true },
  ),
  logLevel: s.choice('what is logged: this and worse', ['debug', 'info', 'warn', 'error'], {
    default: 'info',
  }),
  logFormat: s.choice('how; pretty on a terminal and json elsewhere without it', ['json', 'pretty'], {
    optional: true,
  }),
  autostart: s.boolean('start the domains marked for it, once after each boot of the host', {
    default: true,
  }),
  connectionLimit: s.integer('connections at once, per listener', { default: 512, min: 1, max: 65_536 }),
  stopTimeoutSeconds: s.integer('how long a stop waits for operations under way', {
    default: 20,
    min: 0,
    max: 3600,
  }),
})
export type Config = s.Output<typeof Config>

/** Larger is no configuration. */
const sizeLimit = 1 << 20

/**
 * Reads the configuration file; a missing one is all defaults, unless it was `named` by the user. Fails with
 * `invalid-argument`, telling the file and everything that is wrong in it.
 */
export function readConfig(file: string, { named = false }: { readonly named?: boolean } = {}): Config {
  return parseConfig(readText(file, named), file)
}

/** As {@link readConfig}, of a text; `file` is for messages. */
export function parseConfig(text: string, file: string): Config {
  try {
    // An empty file, or one with only comments, says nothing.
    return parseYaml(Config, text.replace(/^\s*(#.*)?$/gmu, '').trim() === '' ? '{}' : text)
  } catch (error) {
    if (!(error instanceof VisorError)) throw error
    const { message, remedy, line, column, path } = error
    throw new VisorError('invalid-argument', `${file}: ${message}`, {
      cause: error,
      ...(line !== undefined && { line }),
      ...(column !== undefined && { column }),
      ...(path !== undefined && { path }),
      remedy: remedy ?? `Correct it; 'visord --check-config --config ${file}' tells when it is right.`,
    })
  }
}

function readText(file: string, named: boolean): string {
  try {
    const text = readFileSync(file, 'utf8')
    if (text.length > sizeLimit)
      throw new VisorError('invalid-argument', `The configuration '${file}' is larger than 1 MiB.`)
    return text
  } catch (error) {
    if (error instanceof VisorError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && !named) return ''
    throw new VisorError('invalid-argument', `The configuration '${file}' cannot be read: ${message}.`, {
      cause: error,
      remedy: 'See that it exists and that the user of visord may read it.',
    })
  }
}
