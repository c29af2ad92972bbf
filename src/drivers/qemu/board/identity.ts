/** What the guest reads about its machine (SMBIOS, fw_cfg, generation). Source: qemu(1), "-smbios", "-fw_cfg". */
import { hostFiles } from '../../../host/index.ts'
import type { SystemInformation } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { keyValue } from '../definition/key-value.ts'
import { atStart, device, type Part } from '../definition/parts.ts'
import { readHostIdentity } from './host-identity.ts'

/** Tables of SMBIOS, and what QEMU calls their entries where libvirt has another name. */
const tables = [
  { part: 'bios', type: 0, names: new Set(['vendor', 'version', 'date', 'release']) },
  {
    part: 'system',
    type: 1,
    names: new Set(['manufacturer', 'product', 'version', 'serial', 'uuid', 'sku', 'family']),
  },
  {
    part: 'baseBoard',
    type: 2,
    names: new Set(['manufacturer', 'product', 'version', 'serial', 'asset', 'location']),
  },
  { part: 'chassis', type: 3, names: new Set(['manufacturer', 'version', 'serial', 'asset', 'sku']) },
] as const

export function identityParts({ genid, sysinfo, os }: CompleteDefinition): Part[] {
  return [
    ...(genid ? [device('vmgenid', { guid: genid, id: 'vmgenid0' })] : []),
    ...sysinfo.flatMap((one) => (one.type === 'fwcfg' ? configurationParts(one) : [])),
    ...(os.smbios === 'sysinfo' ? sysinfo.filter(({ type }) => type === 'smbios').flatMap(smbiosParts) : []),
    ...(os.smbios === 'host' ? smbiosParts({ ...noTables, ...readHostIdentity(hostFiles()) }) : []),
  ]
}

function configurationParts({ files }: SystemInformation): Part[] {
  return files.map(({ name, file, value }) =>
    atStart('-fw_cfg', keyValue('', { name, ...(file === undefined ? { string: value ?? '' } : { file }) })),
  )
}

type Tables = Pick<SystemInformation, 'bios' | 'system' | 'baseBoard' | 'chassis' | 'oemStrings'>
const noTables: Tables = { bios: [], system: [], baseBoard: [], chassis: [], oemStrings: [] }

function smbiosParts(information: Tables): Part[] {
  const parts = tables.flatMap(({ part, type }) => {
    const fields = Object.fromEntries(information[part].map(({ name = '', value }) => [name, value]))
    return information[part].length === 0 ? [] : [atStart('-smbios', keyValue('', { type, ...fields }))]
  })
  const texts = information.oemStrings.map(({ value = '' }) => keyValue('', { value }))
  return texts.length === 0 ? parts : [...parts, atStart('-smbios', ['type=11', ...texts].join(','))]
}

/** The first entry that SMBIOS has no place for, as a path and what to say of it. */
export function misnamedEntry({ sysinfo }: CompleteDefinition): { path: string; name: string } | undefined {
  for (const [index, information] of sysinfo.entries())
    for (const { part, names } of tables)
      for (const [at, { name = '' }] of information[part].entries())
        if (!(names as ReadonlySet<string>).has(name))
          return { path: `sysinfo[${index}].${part}[${at}].name`, name }
  return undefined
}
