import type { Command } from 'commander'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { withProgress } from '../progress.ts'
import { formatBytes, parseLimit } from '../units.ts'
import { receiveFile, standardStream } from '../volume-transfer.ts'
import { findVolume, volumeName } from '../volumes.ts'

interface Flags {
  readonly pool?: string
  readonly offset?: string
  readonly length?: string
  readonly sparse?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description('Save a volume to a file, as virsh does. visor volume download can also convert it.')
    .argument('<volume>', 'its name, key or path')
    .argument('<file>', "of this machine, replaced when it is there; '-' is the standard output")
    .option('--pool <pool>', 'its pool')
    .option('--offset <bytes>', 'where it begins')
    .option('--length <bytes>', 'at most so much')
    .option('--sparse', 'leave holes out, which is always done')
    .action((name: string, file: string, flags: Flags) => download(context, name, file, flags))
  addExamples(command, [
    ['visor vol-download --pool default disk.raw disk.img', 'all of it'],
    ['visor vol-download disk.raw boot.bin --length 512', 'its first sector'],
  ])
}

async function download(
  { connected, output, signal }: Context,
  name: string,
  file: string,
  { pool, offset, length }: Flags,
): Promise<void> {
  const from = offset === undefined ? 0 : parseLimit(offset, 'The offset')
  const most = length === undefined ? 0 : parseLimit(length, 'The length')
  const part = { ...(from > 0 && { offset: from }), ...(most > 0 && { lengthBytes: most }) }
  const { found, bytes } = await connected(async (connection) => {
    const volume = await findVolume(connection, name, pool)
    const got = await withProgress(output, `Downloading ${volumeName(volume)}`, signal, (call) =>
      receiveFile(connection, volume, file, { ...call, ...part, force: true }),
    )
    return { found: volume, bytes: got.bytes }
  })
  if (file !== standardStream) output.print({ file, bytes }, () => '')
  output.note(`${output.noteColours.green('✓')} ${volumeName(found)} saved, ${formatBytes(bytes)}`)
}
