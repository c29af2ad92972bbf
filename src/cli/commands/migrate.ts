import type { Command } from 'commander'
import type { MigrateOptions } from '../../driver/index.ts'
import { type MigrationSummary, parseDefinition, VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { loadAs } from '../documents.ts'
import { addExamples } from '../help.ts'
import { withProgress } from '../progress.ts'
import { safeText } from '../text-width.ts'
import { formatBytes, parseDuration } from '../units.ts'

interface Flags {
  readonly definition?: string
  readonly name?: string
  readonly offline?: true
  readonly suspend?: true
  readonly undefineSource?: true
  readonly copyStorage?: string
  readonly copyTo?: string
  readonly disk: readonly string[]
  readonly transport?: string
  readonly address?: string
  readonly tls?: true
  readonly bandwidth?: string
  readonly downtime?: string
  readonly postcopy?: true
  readonly postcopyAfter?: string
  readonly compression?: string
  readonly parallel?: string
  readonly autoConverge?: true
  readonly timeout?: string
  readonly timeoutAction?: string
  readonly unsafe?: true
  readonly settle?: string | true
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Move a machine to the visord of another host while it runs. It goes on here when anything fails, and never runs at both.',
    )
    .argument('<domain>', 'name or uuid')
    .argument('[uri]', "the other host's visord: https://host:8430, or unix:///its/socket")
    .option(
      '--copy-storage <how>',
      'copy disks that both hosts do not share: all, or inc for what is above their base',
    )
    .option('--copy-to <folder>', 'where copied disks stand there; the same paths as here without')
    .option('--disk <target[=file]>', 'copy only this disk; with a file: where it stands there', collect, [])
    .option('--name <name>', 'name it gets there')
    .option(
      '--definition <file>',
      'its definition there: XML or YAML; only where things come from may differ',
    )
    .option('--offline', 'move the definition of a machine that is off')
    .option('--suspend', 'leave it paused there')
    .option('--undefine-source', 'forget it here when it runs there')
    .option('--bandwidth <mib>', 'most to send in a second, MiB')
    .option('--downtime <time>', 'how long it may stand still: 300ms')
    .option('--postcopy', 'run it there before all of its memory has come, when one pass is not enough')
    .option('--postcopy-after <passes>', 'passes before that')
    .option('--auto-converge', 'slow it down until its memory changes slower than it is sent')
    .option('--compression <method>', 'xbzrle, zlib or zstd')
    .option('--parallel <connections>', 'send memory over several connections')
    .option('--timeout <time>', 'how long it may take before --timeout-action')
    .option('--timeout-action <action>', 'suspend it so that it ends (the usual), cancel, or postcopy')
    .option('--tls', 'encrypt memory and disks, with certificates on both hosts')
    .option('--transport <way>', 'what memory and disks go over: tcp, or unix on one host')
    .option('--address <address>', 'where the other host listens for them; the host of the URI without')
    .option('--unsafe', 'though the cache mode of a disk may lose what was written')
    .option(
      '--settle [where]',
      'after a migration that was cut off: ask the other host, or say that it runs here or there',
    )
    .action((domain: string, uri: string | undefined, flags: Flags) =>
      flags.settle === undefined
        ? migrate(context, domain, uri, flags)
        : settle(context, domain, flags.settle),
    )
  addExamples(command, [
    ['visor migrate web https://host2:8430', 'disks on storage that both hosts share'],
    ['visor migrate web https://host2:8430 --copy-storage all', 'disks go along'],
    ['visor migrate web https://host2:8430 --postcopy --timeout 1m', 'a guest that never stands still'],
    ['visor migrate web --settle', 'ask the other host again after the network broke'],
  ])
  command.addHelpText(
    'after',
    '\nThe token that the other visord wants over TCP is taken from the environment variable VISOR_PEER_TOKEN.',
  )
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value]
}

function peerToken(): string | undefined {
  return process.env.VISOR_PEER_TOKEN
}

async function migrate(
  context: Context,
  domain: string,
  uri: string | undefined,
  flags: Flags,
): Promise<void> {
  const { output, signal } = context
  if (uri === undefined)
    throw new VisorError('invalid-argument', 'Where to? The address of the other visord is missing.', {
      remedy: `Say it: 'visor migrate ${domain} https://host:8430'.`,
    })
  const definition =
    flags.definition === undefined ? undefined : await loadAs(flags.definition, parseDefinition)
  await context.connected(async (connection) => {
    const { name } = await connection.domains.get(domain)
    const summary = await withProgress(output, `Migrating ${safeText(name)}`, signal, (call) =>
      connection.domains.migrate(domain, {
        ...call,
        ...optionsOf(uri, flags),
        ...(definition && { definition }),
      }),
    )
    output.note(`${output.noteColours.green('✓')} ${safeText(name)} ${describe(summary, uri, flags)}`)
    if (output.json) output.print(summary, () => '')
  })
}

function describe(summary: MigrationSummary, uri: string, { offline }: Flags): string {
  if (offline) return `is defined at ${uri}`
  const { totalMs, downtimeMs, memoryBytes = 0, diskBytes = 0, postcopy } = summary
  const disks = diskBytes > 0 ? `, ${formatBytes(diskBytes)} of disks` : ''
  return `runs at ${uri}: ${(totalMs / 1000).toFixed(1)} s, stood still for ${downtimeMs} ms, ${formatBytes(memoryBytes)} of memory${disks}${postcopy ? ', by postcopy' : ''}`
}

function optionsOf(to: string, flags: Flags): MigrateOptions {
  const { copyStorage, copyTo, name, offline, undefineSource, postcopy, autoConverge, tls, unsafe } = flags
  const { address, compression, transport, timeoutAction } = flags
  const token = peerToken()
  const given = {
    ...{ copyStorage, copyTo, name, offline, undefineSource, postcopy, autoConverge, tls, unsafe, token },
    ...{ address, compression, transport, timeoutAction },
    paused: flags.suspend,
    disks: flags.disk.length > 0 ? flags.disk.map(parseDisk) : undefined,
    bandwidthMiBps: parseNumber(flags.bandwidth, 'The bandwidth'),
    parallel: parseNumber(flags.parallel, 'The number of connections'),
    postcopyAfter: parseNumber(flags.postcopyAfter, 'The number of passes'),
    maxDowntimeMs: flags.downtime === undefined ? undefined : parseDuration(flags.downtime, 'The downtime'),
    timeoutMs: flags.timeout === undefined ? undefined : parseDuration(flags.timeout, 'The timeout'),
  }
  const said = Object.entries(given).filter(([, value]) => value !== undefined)
  // The connection checks what may be chosen, in the same words for all its users.
  return { to, ...Object.fromEntries(said) } as MigrateOptions
}

function parseDisk(text: string): { target: string; file?: string } {
  const [, target = text, file] = /^([^=]+)=(.+)$/u.exec(text) ?? []
  return { target, ...(file === undefined ? {} : { file }) }
}

function parseNumber(text: string | undefined, what: string): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,9}$/u.test(text))
    throw new VisorError('invalid-argument', `${what} is a number, not '${text}'.`)
  return Number(text)
}

async function settle(context: Context, domain: string, where: string | true): Promise<void> {
  const { output } = context
  const outcome = where === true ? 'ask' : where
  if (outcome !== 'ask' && outcome !== 'here' && outcome !== 'there')
    throw new VisorError('invalid-argument', `--settle takes 'ask', 'here' or 'there', not '${outcome}'.`)
  const token = peerToken()
  await context.connected(async ({ domains }) => {
    const after = await domains.settleMigration(domain, {
      outcome,
      ...(token === undefined ? {} : { token }),
    })
    output.note(
      `${output.noteColours.green('✓')} ${safeText(after.name)} ${after.state === 'shutoff' ? 'runs at the other host' : `goes on here: it is ${after.state}`}`,
    )
    if (output.json) output.print(after, () => '')
  })
}
