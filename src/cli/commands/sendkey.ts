import { type Command, Option } from 'commander'
import { keyCodesets } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { parseDuration } from '../units.ts'

interface Flags {
  readonly codeset?: (typeof keyCodesets)[number]
  readonly hold?: string
}

export function configure(command: Command, context: Context): void {
  command
    .description('Press keys of a machine: those joined by + together, one chord after another.')
    .argument('<domain>', 'name or uuid')
    .argument('<chords...>', 'keys: ctrl+alt+delete, a, KEY_F1, or numbers')
    .addOption(new Option('--codeset <set>', 'what numbers mean').choices(keyCodesets).default('linux'))
    .option('--hold <time>', 'hold each chord down: 0.5, 2s')
    .action((domain: string, chords: string[], flags: Flags) => press(context, domain, chords, flags))
  addExamples(command, [
    ['visor sendkey web ctrl+alt+delete', 'what a guest with a screen reboots by'],
    ['visor sendkey web h i enter', 'one key after another'],
    ['visor sendkey web alt+sysrq+b', "a Linux guest's magic key"],
  ])
}

async function press(
  { connected, output }: Context,
  domain: string,
  chords: readonly string[],
  { codeset = 'linux', hold }: Flags,
): Promise<void> {
  const holdMs = hold === undefined ? undefined : parseDuration(hold, 'The time')
  await connected(async ({ domains }) => {
    for (const chord of chords) {
      const keys = chord === '+' ? ['KEY_KPPLUS'] : chord.split('+').map(nameKey)
      await domains.sendKey(domain, { keys, codeset, ...(holdMs !== undefined && { holdMs }) })
    }
  })
  output.note(`${output.noteColours.green('✓')} pressed ${chords.join(' ')}`)
}

/** What people call keys, where Linux has another word. */
const words: Readonly<Record<string, string>> = {
  ctrl: 'LEFTCTRL',
  control: 'LEFTCTRL',
  alt: 'LEFTALT',
  altgr: 'RIGHTALT',
  shift: 'LEFTSHIFT',
  meta: 'LEFTMETA',
  super: 'LEFTMETA',
  win: 'LEFTMETA',
  del: 'DELETE',
  ins: 'INSERT',
  escape: 'ESC',
  return: 'ENTER',
  pgup: 'PAGEUP',
  pgdn: 'PAGEDOWN',
  print: 'SYSRQ',
  menu: 'COMPOSE',
}

/** One digit is the key with it; the key with that number is written 0x3. */
function nameKey(key: string): string {
  if (/^(?:key_|0x)/iu.test(key) || /^\d{2,}$/u.test(key)) return key
  return `KEY_${words[key.toLowerCase()] ?? key.toUpperCase()}`
}
