import { stat } from 'node:fs/promises'
import type { Command } from 'commander'
import type { CompleteConnection } from '../../driver/index.ts'
import { type Domain, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { copyCommands, copyIn, copyOut } from '../into-guest/agent-copy.ts'
import { checkVia } from '../into-guest/check-via.ts'
import { type GuestPlace, readPlace } from '../into-guest/guest-place.ts'
import { runSsh, sshName, sshOptions } from '../into-guest/ssh-client.ts'
import type { SshTarget } from '../into-guest/ssh-target.ts'
import { findWay } from '../into-guest/ways.ts'
import { withProgress } from '../progress.ts'
import { formatBytes } from '../units.ts'

interface CopyFlags {
  readonly recursive?: true
  readonly user?: string
  readonly identity?: string
  readonly via?: 'agent' | 'ssh'
}

interface Copy {
  readonly place: GuestPlace
  readonly file: string
  readonly direction: 'in' | 'out'
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Copy a file into or out of a machine: by its guest agent where that answers, else over ssh. Its mode is kept.',
    )
    .argument('<from>', 'file here, or DOMAIN:/PATH')
    .argument('<to>', 'DOMAIN:/PATH, or file or folder here')
    .option('-r, --recursive', 'folders with all that is in them, over ssh')
    .option('-u, --user <name>', 'as this user of the guest, over ssh; root with the agent')
    .option('--identity <file>', 'private key to log in with, where it goes over ssh')
    .option('--via <way>', 'only this way: agent or ssh', checkVia)
    .action((from: string, to: string, flags: CopyFlags) => copy(context, from, to, flags))
  addExamples(command, [
    ['visor cp app.conf web:/etc/app.conf', 'a file into the guest'],
    ['visor cp web:/var/log/syslog .', 'and out of it'],
    ['visor cp -r site web:/srv/', 'a folder, over ssh'],
  ])
}

async function copy(context: Context, from: string, to: string, flags: CopyFlags): Promise<void> {
  const wanted = readCopy(from, to)
  const { place, file, direction } = wanted
  if (direction === 'in') await checkSource(file, flags.recursive === true)
  const onlySsh = flags.recursive === true || flags.user !== undefined
  if (onlySsh && flags.via === 'agent')
    throw new VisorError('invalid-argument', 'The agent copies one file at a time, as root.', {
      remedy: 'Leave --via agent out, and -r and --user go over ssh.',
    })
  const via = onlySsh ? 'ssh' : flags.via
  await context.connected(async (connection) => {
    const way = await findWay(context, connection, place.domain, { commands: copyCommands, via })
    if (way.by === 'agent') await byAgent(context, connection, way.machine, wanted)
    else await bySsh(context, way.target, wanted, flags)
  })
}

function readCopy(from: string, to: string): Copy {
  const [source, target] = [readPlace(from), readPlace(to)]
  if (source && !target) return { place: source, file: to, direction: 'out' }
  if (target && !source) return { place: target, file: from, direction: 'in' }
  throw new VisorError(
    'invalid-argument',
    source ? 'Both places are in machines.' : 'Neither place is in a machine.',
    {
      remedy: source
        ? 'Copy it to this host first.'
        : 'Write one as DOMAIN:/PATH, such as web:/etc/app.conf.',
    },
  )
}

async function checkSource(file: string, recursive: boolean): Promise<void> {
  const found = await stat(file).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ENOENT') throw cause
    throw new VisorError('not-found', `There is no file '${file}' here.`, { cause })
  })
  if (found.isFile() || (found.isDirectory() && recursive)) return
  throw new VisorError('invalid-argument', `'${file}' is not a file.`, {
    ...(found.isDirectory() && { remedy: 'Folders are copied with -r, over ssh.' }),
  })
}

async function byAgent(
  context: Context,
  connection: CompleteConnection,
  machine: Domain,
  { place, file, direction }: Copy,
): Promise<void> {
  const { output, signal } = context
  const label = `Copying ${direction === 'in' ? file : place.path}`
  const done = await withProgress(output, label, signal, ({ progress }) => {
    const onBytes = (bytes: number, total: number) => progress({ done: bytes, total, unit: 'bytes' })
    const work = { connection, machine, signal, onBytes }
    return direction === 'in' ? copyIn(work, file, place.path) : copyOut(work, place.path, file)
  })
  const where = direction === 'in' ? `${machine.name}:${done.path}` : done.path
  output.note(`${output.noteColours.green('✓')} ${where} written, ${formatBytes(done.size)}`)
}

async function bySsh(
  context: Context,
  target: SshTarget,
  { place, file, direction }: Copy,
  { recursive, user, identity }: CopyFlags,
): Promise<void> {
  // What has a colon in it would be a host to scp, and what begins with a dash a flag.
  const here = file.startsWith('/') ? file : `./${file}`
  const there = (path: string) => `${user === undefined ? '' : `${user}@`}${sshName(target)}:${path}`
  const args = [
    ...(await sshOptions(context, target, { quiet: true, identity })),
    ...['-p', ...(recursive ? ['-r'] : []), ...(context.output.live ? [] : ['-q']), '--'],
    // Of what comes, scp takes names with wildcards for many.
    ...(direction === 'in'
      ? [here, there(place.path)]
      : [there(place.path.replace(/[\\*?[\]]/gu, '\\$&')), here]),
  ]
  const { code } = await runSsh(context, 'scp', args, target)
  if (code !== 0)
    throw new VisorError('failed', `'${place.path}' of '${target.machine.name}' was not copied: see above.`, {
      remedy: 'scp needs the sftp server of OpenSSH in the guest, and a user who may log in (--user).',
    })
  const where = direction === 'in' ? `${target.machine.name}:${place.path}` : file
  context.output.note(`${context.output.noteColours.green('✓')} ${where} written, over ssh`)
}
