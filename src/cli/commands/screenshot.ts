import { writeFile } from 'node:fs/promises'
import { extname } from 'node:path'
import type { Command } from 'commander'
import type { Picture } from '../../driver/index.ts'
import { VisorError } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { formatBytes, parseCount } from '../units.ts'

interface ScreenshotFlags {
  readonly text?: true
  readonly screen?: string
}

export function configure(command: Command, context: Context): void {
  command
    .description('Save the screen of a running machine as a picture.')
    .argument('<domain>', 'name or uuid')
    .argument('[file]', "where to; '-' is standard output; a name with the time in it without")
    .option('--text', 'print the screen of a text mode as text')
    .option('--screen <n>', 'which screen, from 0')
    .action((domain: string, file: string | undefined, flags: ScreenshotFlags) =>
      flags.text ? printText(context, domain) : savePicture(context, domain, file, flags),
    )
  addExamples(command, [
    ['visor screenshot web', 'web-2026-01-31-120000.png'],
    ['visor screenshot web --text', 'what a text mode shows'],
  ])
}

async function printText({ connected, output }: Context, domain: string): Promise<void> {
  const text = await connected((connection) => connection.domains.screenText(domain))
  output.print({ text }, () => text)
}

async function savePicture(
  { connected, output }: Context,
  domain: string,
  file: string | undefined,
  flags: ScreenshotFlags,
): Promise<void> {
  if (file === '-' && process.stdout.isTTY)
    throw new VisorError('invalid-argument', 'A picture is no text for a terminal.', {
      remedy: 'Name a file, or pipe it on.',
    })
  const screen = flags.screen === undefined ? {} : { screen: parseCount(flags.screen, 'The screen', 0, 15) }
  const picture = await connected((connection) => connection.domains.screenshot(domain, screen))
  if (file === '-') return output.write(picture.bytes)
  const path = nameFile(domain, file, picture)
  await write(path, picture.bytes)
  const { mediaType, bytes } = picture
  output.print({ file: path, mediaType, sizeBytes: bytes.length }, () => `${path}\n`)
  output.note(`${output.noteColours.green('✓')} screen of ${domain} saved, ${formatBytes(bytes.length)}`)
}

/** The file as asked for, with the ending of the picture's format when it has another. */
export function nameFile(
  domain: string,
  file: string | undefined,
  { mediaType }: Pick<Picture, 'mediaType'>,
): string {
  const ending = mediaType === 'image/png' ? '.png' : '.ppm'
  if (file !== undefined) return extname(file) === '' || extname(file) === ending ? file : file + ending
  const time = new Date().toISOString().slice(0, 19).replace('T', '-').replaceAll(':', '')
  return `${domain.replace(/[^\w.-]/gu, '_')}-${time}${ending}`
}

async function write(path: string, bytes: Uint8Array): Promise<void> {
  try {
    await writeFile(path, bytes)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new VisorError('failed', `The picture could not be written to ${path}: ${reason}.`, { cause })
  }
}
