import { resolve } from 'node:path'
import type { Command } from 'commander'
import { type DomainDefinition, VisorError } from '../../model/index.ts'
import { type AffectFlags, addAffectFlags } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { guessFormat } from '../disk-spec.ts'
import { type Found, findDevice, oneDevice } from '../find-device.ts'
import { addExamples } from '../help.ts'

interface Flags extends AffectFlags {
  readonly eject?: true
  readonly pool?: string
  readonly insert?: true
  readonly update?: true
  readonly force?: true
}

export function configure(command: Command, context: Context): void {
  command
    .description('Put another medium into a CD-ROM or floppy drive, or take it out.')
    .argument('<domain>', 'name or uuid')
    .argument('<target>', 'the drive: its target, alias or medium')
    .argument('[file]', "image of the medium, on the daemon's host")
    .option('--pool <pool>', 'the medium is the volume of this name there')
    .option('--eject', 'take the medium out')
    .option('--insert', 'only into an empty drive')
    .option('--update', 'only in place of another medium')
    .option('--force', 'open the tray though the guest has locked it')
  addAffectFlags(command).action((domain: string, target: string, file: string | undefined, flags: Flags) => {
    checkFlags(file, flags)
    return changeDomain(context, domain, {
      doing: 'Changing the medium of',
      flags,
      async run({ connection, call, definition }) {
        const drive = findDrive(await definition(), target)
        checkMedium(drive, flags)
        const device = oneDevice(drive, { ...empty, ...mediumOf(file, flags) })
        await connection.domains.updateDevice(domain, {
          ...call,
          device,
          ...(flags.force && { force: true }),
        })
        return file === undefined
          ? `has ${drive.device.target} empty`
          : `has ${file} in ${drive.device.target}`
      },
    })
  })
  addExamples(command, [
    ['visor change-media web sda debian.iso', 'put it in'],
    ['visor change-media web sda debian.iso --pool images', 'a volume'],
    ['visor change-media web sda --eject --force', 'whatever the guest says'],
  ])
}

const empty = { type: 'file', file: undefined, block: undefined, pool: undefined, volume: undefined } as const

function mediumOf(file: string | undefined, { pool }: Flags) {
  if (file === undefined) return {}
  const format = guessFormat(file, false)
  return pool === undefined ? { file: resolve(file), format } : { type: 'volume', pool, volume: file, format }
}

function checkFlags(file: string | undefined, { eject, insert, update, pool }: Flags): void {
  if (pool !== undefined && file === undefined)
    throw new VisorError('invalid-argument', 'No volume was named.', {
      remedy: `Name one: visor volume list ${pool}`,
    })
  if (eject && (file !== undefined || insert || update))
    throw new VisorError('invalid-argument', '--eject takes no other medium and no other way.')
  if (!eject && file === undefined)
    throw new VisorError('invalid-argument', 'No medium was named.', {
      remedy: 'Name its file, or take the medium out with --eject.',
    })
}

function findDrive(definition: DomainDefinition, word: string): Found<'disks'> {
  const drive = findDevice(definition, word, ['disks'])
  if (drive.device.device === 'cdrom' || drive.device.device === 'floppy') return drive
  throw new VisorError(
    'invalid-argument',
    `'${word}' of domain '${definition.name}' is no drive with media.`,
    {
      remedy: 'Attach and detach disks with visor attach and visor detach.',
    },
  )
}

function checkMedium(
  { device: { target, file, block, volume } }: Found<'disks'>,
  { eject, insert, update }: Flags,
): void {
  const medium = file ?? block ?? volume
  const isEmpty = medium === undefined
  if (isEmpty && (eject || update))
    throw new VisorError('invalid-state', `There is no medium in '${target}'.`)
  if (!isEmpty && insert)
    throw new VisorError('invalid-state', `There is a medium in '${target}' already: ${medium}.`, {
      remedy: 'Leave --insert out to put the other one in its place.',
    })
}
