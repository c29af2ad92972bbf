import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { type DomainDefinition, type Graphics, VisorError } from '../../model/index.ts'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { parseDuration } from '../units.ts'

interface Flags extends AffectFlags {
  readonly type?: 'vnc' | 'spice'
  readonly validFor?: string
  readonly validTo?: string
  readonly forever?: true
  readonly connected?: 'keep' | 'disconnect' | 'fail'
}

export function configure(command: Command, context: Context): void {
  command
    .description(
      'Change the password of a VNC or SPICE screen, or how long it is good for. The password stands in a file on the host of the machine, one line; VNC takes 8 bytes.',
    )
    .argument('<domain>', 'name or uuid')
    .argument('[file]', 'file with the password; without it, the one named before is read again')
    .addOption(new Option('--type <type>', 'the screen, where there are two').choices(['vnc', 'spice']))
    .addOption(
      new Option('--valid-for <time>', 'how long it is good for, such as 10m or 8h').conflicts([
        'validTo',
        'forever',
      ]),
    )
    .addOption(
      new Option(
        '--valid-to <time>',
        'until when, such as 2030-12-31T23:59:59Z; without zone in UTC',
      ).conflicts('forever'),
    )
    .option('--forever', 'it does not end')
    .addOption(
      new Option('--connected <action>', 'what becomes of those who look (SPICE)').choices([
        'keep',
        'disconnect',
        'fail',
      ]),
    )
  addAffectFlags(command).action((domain: string, file: string | undefined, flags: Flags) => {
    const passwordValidTo = endOf(flags)
    return changeDomain(context, domain, {
      doing: 'Changing the password of',
      flags,
      async run({ connection, call, definition }) {
        const { type } = screenOf(await definition(), flags.type)
        const screen = {
          type,
          ...(file === undefined ? {} : { passwordFile: resolve(file) }),
          ...(passwordValidTo === undefined ? {} : { passwordValidTo }),
          ...(flags.connected === undefined ? {} : { passwordConnected: flags.connected }),
        }
        await connection.domains.updateDevice(domain, { ...call, device: { graphics: [screen] } })
        const until = passwordValidTo && !flags.forever ? `, good until ${passwordValidTo} UTC` : ''
        return `has the password of its ${type.toUpperCase()} screen changed${until}`
      },
    })
  })
  addExamples(command, [
    ['visor screen-password web /etc/visor/web.vnc --valid-for 10m', 'for somebody who looks soon'],
    ['visor screen-password web', 'read the file again, which has been changed'],
    ['visor screen-password web --forever --live --config', 'it does not end any more'],
  ])
}

/** As far away as the format has it: what a definition says is changed, not taken out. */
const never = '9999-12-31T23:59:59'

/** The end in UTC, as definitions have it. */
function endOf({ validFor, validTo, forever }: Flags): string | undefined {
  if (forever) return never
  if (validFor !== undefined) return utc(Date.now() + parseDuration(validFor, '--valid-for'))
  if (validTo === undefined) return undefined
  const isZoned = /(?:Z|[+-]\d\d:?\d\d)$/iu.test(validTo)
  const time = Date.parse(isZoned ? validTo : `${validTo}Z`)
  if (Number.isNaN(time))
    throw new VisorError('invalid-argument', `--valid-to: there is no time '${validTo}'.`, {
      remedy: 'Give it such as 2030-12-31T23:59:59Z.',
    })
  return utc(time)
}

const utc = (time: number) => new Date(time).toISOString().slice(0, 19)

function screenOf({ name, devices }: DomainDefinition, type: Flags['type']): Graphics {
  const screens = devices.graphics.filter((one) =>
    type === undefined ? one.type === 'vnc' || one.type === 'spice' : one.type === type,
  )
  const [screen, another] = screens
  if (!screen)
    throw new VisorError('not-found', `Domain '${name}' has no ${type ?? 'VNC or SPICE'} screen.`, {
      remedy: "Give it one in its definition ('graphics').",
    })
  if (another)
    throw new VisorError('invalid-argument', `Domain '${name}' has several screens.`, {
      remedy: `Say which: --type ${screens.map((one) => one.type).join(' or --type ')}.`,
    })
  return screen
}
