import { isAbsolute, join, resolve } from 'node:path'
import type { Command } from 'commander'
import {
  type BackupBlockOptions,
  backupRequest,
  type CompleteConnection,
  checkpointRequest,
} from '../../driver/index.ts'
import { parseBackup, parseCheckpoint, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { loadAs } from '../documents.ts'
import { addExamples } from '../help.ts'
import { withProgress } from '../progress.ts'
import { safeText } from '../text-width.ts'

interface BackupFlags {
  readonly to?: string
  readonly serve?: string
  readonly since?: string
  readonly checkpoint?: string
  readonly disk: readonly string[]
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Copy the disks of a machine that runs, as they are now, or what was written since a checkpoint.',
    )
    .argument('<domain>', 'name or uuid')
    .argument('[xml]', "libvirt's <domainbackup> as XML, YAML or JSON; '-' is standard input")
    .argument('[checkpoint-xml]', 'the same of a checkpoint to make at the same moment')
    .option('--to <directory>', "write a qcow2 file for each disk to it, on the daemon's host")
    .option('--serve <address>', 'serve them by NBD at a unix socket or host:port instead, until Ctrl-C')
    .option('--since <checkpoint>', 'only what was written since')
    .option('--checkpoint <name>', 'make a checkpoint of this name at the same moment')
    .option(
      '--disk <target>',
      'only this disk; repeat for more',
      (value: string, before: string[]) => [...before, value],
      [],
    )
    .action((domain: string, xml: string | undefined, checkpoint: string | undefined, flags: BackupFlags) =>
      xml === undefined
        ? backUp(context, domain, flags)
        : backUpAs(context, domain, { ...flags, xml }, checkpoint),
    )
  addExamples(command, [
    [
      'visor backup web --to /backup/full --checkpoint monday',
      'all of it, and remember what is written then',
    ],
    ['visor backup web --to /backup/tuesday --since monday', 'only that'],
    ['visor backup web backup.xml', "what libvirt's <domainbackup> asks for"],
    ['visor backup web --serve /run/web.sock', 'qemu-img convert nbd+unix:///vda?socket=/run/web.sock ...'],
  ])
}

async function backUp(context: Context, domain: string, flags: BackupFlags): Promise<void> {
  const { to, serve, since, checkpoint } = flags
  const { output, signal } = context
  if ((to === undefined) === (serve === undefined))
    throw new VisorError('invalid-argument', 'A backup is either written (--to) or served (--serve).')
  await context.connected(async (connection) => {
    const targets = flags.disk.length > 0 ? flags.disk : await writtenDisks(connection, domain)
    const disks = targets.map((disk) => ({
      disk,
      ...(to !== undefined && { file: join(resolve(to), `${disk}.qcow2`) }),
    }))
    const options: BackupBlockOptions = {
      disks,
      ...(serve !== undefined && {
        server: serve.includes(':') || isAbsolute(serve) ? serve : resolve(serve),
      }),
      ...(since !== undefined && { since }),
      ...(checkpoint !== undefined && { checkpoint }),
    }
    if (serve !== undefined) output.note(`Serving ${targets.join(', ')} at ${serve}; Ctrl-C ends it.`)
    await withProgress(output, `Backing ${domain} up`, signal, (call) =>
      connection.blocks.backup(domain, { ...options, ...call }),
    )
    const where = to === undefined ? 'was served' : `is in ${disks.map(({ file }) => file).join(', ')}`
    output.note(`${output.noteColours.green('✓')} the backup of ${safeText(domain)} ${where}`)
  })
}

/** As files describe it. */
async function backUpAs(
  context: Context,
  domain: string,
  { xml, disk, ...flags }: BackupFlags & { readonly xml: string },
  checkpointXml: string | undefined,
): Promise<void> {
  const { output, signal } = context
  if (disk.length > 0 || Object.keys(flags).length > 0)
    throw new VisorError('invalid-argument', 'A backup is described by a file or by flags, not by both.')
  const wanted = await loadAs(xml, parseBackup)
  const point = checkpointXml === undefined ? undefined : await loadAs(checkpointXml, parseCheckpoint)
  await context.connected(async (connection) => {
    const definition = await connection.domains.describe(domain)
    const options = backupRequest(wanted, definition)
    if (point) checkpointRequest(point, definition)
    const checkpoint = point && (point.name ?? new Date().toISOString().slice(0, 19).replaceAll(':', ''))
    if (options.server !== undefined) output.note(`Serving at ${options.server}; Ctrl-C ends it.`)
    await withProgress(output, `Backing ${domain} up`, signal, (call) =>
      connection.blocks.backup(domain, {
        ...options,
        ...(checkpoint !== undefined && { checkpoint }),
        ...call,
      }),
    )
    output.note(`${output.noteColours.green('✓')} the backup of ${safeText(domain)} is done`)
  })
}

/** Target names of the disks that a machine writes to. */
async function writtenDisks({ domains }: CompleteConnection, domain: string): Promise<string[]> {
  const { devices } = await domains.describe(domain)
  return devices.disks
    .filter(({ device, readonly }) => device === 'disk' && !readonly)
    .map(({ target }) => target)
}
