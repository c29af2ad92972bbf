/** What a guest is told at its first boot, from flags. */
import { readFile, stat } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import { errorNumber, sha512Crypt } from '../../host/index.ts'
import {
  FirstBoot,
  type FirstBootInput,
  isHostName,
  mostFirstBootText,
  parse,
  seedOf,
  VisorError,
} from '../../model/index.ts'
import { readStandardInput } from '../standard-input.ts'
import { cardsOf, parseAddress } from './address-spec.ts'

export interface FirstBootFlags {
  readonly sshKey?: readonly string[]
  readonly user?: string
  readonly passwordFile?: string
  readonly hostname?: string
  readonly package?: readonly string[]
  readonly run?: readonly string[]
  readonly write?: readonly string[]
  readonly timezone?: string
  readonly locale?: string
  readonly address?: readonly string[]
  readonly cloudInit?: string
  readonly networkConfig?: string
  readonly metaData?: string
  readonly ignition?: string
}

const collect = (value: string, before: readonly string[] = []) => [...before, value]

export function addFirstBootFlags(command: Command): Command {
  const ignition = new Option('--ignition <file>', 'configuration of Ignition (Fedora CoreOS, Flatcar)')
  return command
    .optionsGroup('Its first boot (images with cloud-init, or Ignition):')
    .option('--ssh-key <key>', 'a public key that logs in: a file with it, or itself; repeatable', collect)
    .option('--user <name>', "who logs in, and may become root; the image's own user without")
    .option('--password-file <file>', 'file with the password of that user, one line; - is standard input')
    .option('--hostname <name>', 'host name; that of the machine without')
    .option('--address <address>', 'CARD=192.0.2.5/24[,gateway=...][,dns=...]; card 0 is the first', collect)
    .option('--package <name>', 'a package to install; repeatable', collect)
    .option('--write <file>', 'GUESTPATH=FILE: a text file that it gets; repeatable', collect)
    .option('--run <command>', 'a command of a shell, as root, at the end; repeatable', collect)
    .option('--timezone <zone>', 'time zone: Europe/Vienna')
    .option('--locale <locale>', 'language: de_AT.UTF-8')
    .option('--cloud-init <file>', "cloud-init's user-data as it is (#cloud-config, a script, ...)")
    .option('--network-config <file>', "cloud-init's network-config as it is")
    .option('--meta-data <file>', "cloud-init's meta-data")
    .addOption(ignition)
}

export interface FirstBootMachine {
  readonly uuid: string
  readonly name: string
  readonly macs: readonly string[]
  /** Name of the image it is made from. */
  readonly image?: string | undefined
}

const settingFlags = [
  ...(['sshKey', 'user', 'passwordFile', 'hostname', 'package', 'run', 'write', 'timezone'] as const),
  ...(['locale', 'address', 'cloudInit', 'networkConfig', 'metaData'] as const),
]

/**
 * What the flags say; undefined when they say nothing. The password is read and hashed here, and goes no further.
 * Fails with `invalid-argument` before anything is made.
 */
export async function readFirstBoot(
  flags: FirstBootFlags,
  machine: FirstBootMachine,
): Promise<FirstBootInput | undefined> {
  const hasSettings = settingFlags.some((flag) => flags[flag] !== undefined)
  if (flags.ignition === undefined && !hasSettings) return undefined
  if (flags.ignition !== undefined && hasSettings)
    throw new VisorError(
      'invalid-argument',
      '--ignition is for systems that do not read the other settings.',
      {
        remedy: 'Write users, files and units into its configuration.',
      },
    )
  const input =
    flags.ignition === undefined
      ? await cloudInitOf(flags, machine)
      : { ignition: await readText('--ignition', flags.ignition) }
  seedOf(parse(FirstBoot, input, { code: 'invalid-argument' }))
  return input
}

async function cloudInitOf(flags: FirstBootFlags, machine: FirstBootMachine): Promise<FirstBootInput> {
  const { hostname = isHostName(machine.name) ? machine.name : undefined, timezone, locale } = flags
  const files = await Promise.all((flags.write ?? []).map(readFileToWrite))
  const texts = {
    userData: flags.cloudInit && (await readText('--cloud-init', flags.cloudInit)),
    networkConfig: flags.networkConfig && (await readText('--network-config', flags.networkConfig)),
    metaData: flags.metaData && (await readText('--meta-data', flags.metaData)),
  }
  return {
    instanceId: machine.uuid,
    ...(hostname !== undefined && { hostname }),
    ...(await loginOf(flags, machine)),
    packages: [...(flags.package ?? [])],
    files,
    commands: [...(flags.run ?? [])],
    ...(timezone !== undefined && { timezone }),
    ...(locale !== undefined && { locale }),
    cards: cardsOf(
      (flags.address ?? []).map((one) => parseAddress(one)),
      machine.macs,
    ),
    ...Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== undefined)),
  }
}

/** Keys and password, of the user that is named or of the image's own. */
async function loginOf(
  { sshKey = [], user, passwordFile }: FirstBootFlags,
  { image }: FirstBootMachine,
): Promise<FirstBootInput> {
  const sshKeys = (await Promise.all(sshKey.map(readKeys))).flat()
  const login = {
    sshKeys,
    ...(passwordFile !== undefined && { passwordHash: await hashPassword(passwordFile) }),
  }
  if (user === undefined) return login
  if (sshKeys.length === 0 && passwordFile === undefined)
    throw new VisorError('invalid-argument', `--user ${user}: nobody could log in as that user.`, {
      remedy: 'Add --ssh-key or --password-file.',
    })
  // The shell that people expect, where it is known to be there.
  const shell = image !== undefined && !image.startsWith('alpine') ? { shell: '/bin/bash' } : {}
  return { users: [{ name: user, ...shell, ...login }] }
}

/** Public keys of a file, or the key itself. */
async function readKeys(given: string): Promise<string[]> {
  const text = /^[a-z0-9@.-]+ AAAA/u.test(given) ? given : await readText('--ssh-key', given)
  if (text.includes('PRIVATE KEY-----'))
    throw new VisorError('invalid-argument', `'${given}' is a private key, which stays with you.`, {
      remedy: `Name the public one: --ssh-key ${given}.pub`,
    })
  const keys = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
  if (keys.length > 0) return keys
  throw new VisorError('invalid-argument', `There is no key in '${given}'.`)
}

async function hashPassword(file: string): Promise<string> {
  const text = file === '-' ? (await readStandardInput()).toString() : await readText('--password-file', file)
  const [password = '', second = ''] = text.split(/\r?\n/u)
  if (password === '' || second !== '')
    throw new VisorError('invalid-argument', '--password-file: one line is wanted, with the password.')
  try {
    return sha512Crypt(password)
  } catch {
    throw new VisorError('invalid-argument', '--password-file: a password has 1 to 256 bytes.')
  }
}

async function readFileToWrite(given: string) {
  const [path = '', ...rest] = given.split('=')
  const file = rest.join('=')
  if (!path.startsWith('/') || file === '')
    throw new VisorError('invalid-argument', `--write ${given}: it does not say what goes where.`, {
      remedy: 'Write GUESTPATH=FILE, such as /etc/motd=motd.txt.',
    })
  const isProgram = ((await stat(file).catch(() => undefined))?.mode ?? 0) & 0o100
  return { path, content: await readText('--write', file), permissions: isProgram ? '0755' : '0644' }
}

/** A text of bounded length. Fails with `invalid-argument`, `not-found` or `denied`. */
async function readText(flag: string, file: string): Promise<string> {
  try {
    const facts = await stat(file)
    if (!facts.isFile() || facts.size > mostFirstBootText)
      throw new VisorError(
        'invalid-argument',
        `${flag}: '${file}' is ${facts.isFile() ? 'too large' : 'no file'}.`,
        { remedy: `A text of at most ${mostFirstBootText / 1024} KiB is wanted.` },
      )
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(file))
  } catch (error) {
    if (error instanceof VisorError) throw error
    if (error instanceof TypeError)
      throw new VisorError('invalid-argument', `${flag}: '${file}' is no text in UTF-8.`, { cause: error })
    const isThere = errorNumber(error) !== 'ENOENT'
    throw new VisorError(
      isThere ? 'denied' : 'not-found',
      `${flag}: '${file}' ${isThere ? 'cannot be read' : 'is not there'}.`,
      { cause: error },
    )
  }
}
