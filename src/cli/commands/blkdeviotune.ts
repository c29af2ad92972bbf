import type { Command } from 'commander'
import { Disk, type Disk as DiskType, described, type schema as s } from '../../model/index.ts'
import { type AffectFlags, addAffectFlags, affectedDefinition, readAffect } from '../affect.ts'
import { changeDomain } from '../change-domain.ts'
import type { Context } from '../context.ts'
import { findDevice, oneDevice } from '../find-device.ts'
import { addExamples } from '../help.ts'
import { parseLimit } from '../units.ts'

/** The limits of a disk: field, name in virsh, and what it is. */
const limits = Object.entries((described(Disk.fields.throttle) as s.ObjectSchema).fields).flatMap(
  ([field, { options, doc }]: [string, s.Schema]) =>
    options.xml === undefined
      ? []
      : [{ field, name: options.xml, flag: options.xml.replaceAll('_', '-'), doc }],
)

type Flags = AffectFlags & Readonly<Record<string, string | true | undefined>>

export function configure(command: Command, context: Context): void {
  command
    .description('Show or set the limits of a disk. Without a limit, those there are; 0 is none.')
    .argument('<domain>', 'name or uuid')
    .argument('<target>', 'the disk: its target, alias or image')
    .optionsGroup('Limits:')
  for (const { field, flag, doc } of limits)
    command.option(`--${flag} <${field === 'groupName' ? 'name' : 'n'}>`, doc)
  addAffectFlags(command).action((domain: string, target: string, flags: Flags) => {
    const changes = readLimits(flags)
    return Object.keys(changes).length === 0
      ? show(context, domain, target, flags)
      : changeDomain(context, domain, {
          doing: 'Setting the limits of',
          flags,
          async run({ connection, call, definition }) {
            const found = findDevice(await definition(), target, ['disks'])
            const throttle = { ...withoutRivals(found.device.throttle, changes), ...changes }
            await connection.domains.updateDevice(domain, { ...call, device: oneDevice(found, { throttle }) })
            return `has other limits on ${found.device.target}`
          },
        })
  })
  addExamples(command, [
    ['visor blkdeviotune web vda --total-bytes-sec 10MiB --total-iops-sec 500', 'set'],
    ['visor blkdeviotune web vda', 'and see'],
  ])
}

function readLimits(flags: Flags): Record<string, number | string> {
  return Object.fromEntries(
    limits.flatMap(({ field, flag }) => {
      const text = flags[camelCase(flag)]
      if (typeof text !== 'string') return []
      return [[field, field === 'groupName' ? text : parseLimit(text, `The limit ${flag}`)]]
    }),
  )
}

/** A limit of all excludes those of reads and writes, and the other way round: what is set anew is what counts. */
function withoutRivals(throttle: DiskType['throttle'], changes: Readonly<Record<string, unknown>>) {
  const family = (field: string) => /^(?:total|read|write)(.*)$/u.exec(field)?.[1]
  const isTotal = (field: string) => field.startsWith('total')
  const set = Object.keys(changes).filter((field) => changes[field] !== 0)
  const isRival = (field: string) =>
    set.some(
      (one) => family(one) !== undefined && family(one) === family(field) && isTotal(one) !== isTotal(field),
    )
  return Object.fromEntries(Object.entries(throttle ?? {}).filter(([field]) => !isRival(field)))
}

const camelCase = (flag: string) => flag.replace(/-(.)/gu, (_, letter: string) => letter.toUpperCase())

function show(context: Context, domain: string, target: string, flags: AffectFlags): Promise<void> {
  return context.connected(async (connection) => {
    const affect = await readAffect(connection, domain, flags)
    const definition = await affectedDefinition(connection, domain, affect)
    const throttle: DiskType['throttle'] = findDevice(definition, target, ['disks']).device.throttle
    const value = (field: string) => (throttle as Record<string, unknown> | undefined)?.[field]
    const shown = limits.map(({ field, name }) => [name, value(field) ?? (field === 'groupName' ? '' : 0)])
    context.output.print(Object.fromEntries(shown), () =>
      shown.map(([name, one]) => `${String(name).padEnd(26)} : ${one}\n`).join(''),
    )
  })
}
