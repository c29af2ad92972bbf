import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { withProgress } from '../progress.ts'
import { formatBytes, parseLimit } from '../units.ts'
import { readSource, sendFile, standardStream } from '../volume-transfer.ts'
import { findVolume, volumeName } from '../volumes.ts'

interface Flags {
  readonly pool?: string
  readonly offset?: string
  readonly length?: string
  readonly sparse?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Write a file into a volume that is there, as virsh does. visor volume upload makes new ones.',
    )
    .argument('<volume>', 'its name, key or path')
    .argument('<file>', "of this machine; '-' is the standard input")
    .option('--pool <pool>', 'its pool')
    .option('--offset <bytes>', 'where in the volume it goes; raw volumes only')
    .option('--length <bytes>', 'at most so much of it; raw volumes only')
    .option('--sparse', 'leave holes out, which is always done')
    .action((name: string, file: string, flags: Flags) => upload(context, name, file, flags))
  addExamples(command, [
    ['visor vol-upload --pool default disk.raw disk.img', 'what is behind its end stays'],
  ])
}

/** Into raw volumes in place, as libvirt does; an image in another format takes the place of the one before. */
async function upload(
  { connected, output, signal }: Context,
  name: string,
  file: string,
  flags: Flags,
): Promise<void> {
  const offset = flags.offset === undefined ? undefined : parseLimit(flags.offset, 'The offset')
  const length = flags.length === undefined ? undefined : parseLimit(flags.length, 'The length')
  // As virsh has it, no length is all of it.
  const most = length || Number.MAX_SAFE_INTEGER
  const volume = await connected(async (connection) => {
    const found = await findVolume(connection, name, flags.pool)
    return withProgress(output, `Uploading ${volumeName(found)}`, signal, (call) =>
      found.format === 'raw' || offset || length
        ? connection.volumes.write(found.pool, found.name, readSource(file, most, signal), {
            ...call,
            offset: offset ?? 0,
            ...(length && { lengthBytes: length }),
          })
        : sendFile(connection, file, found, { ...call, format: found.format, replace: true }),
    )
  })
  output.print(volume, () => '')
  const from = file === standardStream ? 'the standard input' : file
  output.note(
    `${output.noteColours.green('✓')} ${volumeName(volume)} written from ${from}, ${formatBytes(volume.capacityBytes)}`,
  )
}
