/** The files that a guest reads at its first boot. Sources: cloud-init, "NoCloud"; Ignition, "Supported platforms", QEMU. */
import { isPlainObject } from '../described.ts'
import { VisorError } from '../error.ts'
import * as s from '../schema.ts'
import { formatYaml } from '../yaml-write.ts'
import { networkConfigOf } from './network-config.ts'
import { readMap } from './read-yaml.ts'
import type { FirstBoot } from './settings.ts'
import { userDataOf } from './user-data.ts'

/** Name of the file of the machine's firmware interface in which Ignition looks for its configuration. */
export const ignitionEntry = 'opt/com.coreos/config'

export interface SeedFile {
  readonly name: string
  readonly text: string
}

/**
 * The files of a volume `cidata`, or the one text that Ignition reads. Fails with `invalid-argument` naming the
 * setting that is not as it should be.
 */
export function seedOf(settings: FirstBoot): { readonly files: SeedFile[] } | { readonly ignition: string } {
  const { ignition, ...others } = settings
  if (ignition !== undefined) {
    refuseBeside(others)
    checkIgnition(ignition)
    return { ignition }
  }
  const networkConfig = networkConfigOf(settings)
  return {
    files: [
      { name: 'meta-data', text: metaDataOf(settings) },
      // An empty one is one, and NoCloud wants to see both.
      { name: 'user-data', text: userDataOf(settings) ?? '#cloud-config\n{}\n' },
      ...(networkConfig === undefined ? [] : [{ name: 'network-config', text: networkConfig }]),
    ],
  }
}

/** With another identity, host name and hardware addresses, for a copy of the machine: cloud-init then runs again. */
export function reseed(files: readonly SeedFile[], changes: SeedChanges): SeedFile[] {
  return files.map(({ name, text }) => {
    if (name === 'meta-data') return { name, text: renamed(text, changes) }
    return { name, text: name === 'network-config' ? withMacs(text, changes.macs) : text }
  })
}

export interface SeedChanges {
  readonly instanceId: string
  /** Of the source and of the copy; another name that the guest was given stays. */
  readonly hostname: { readonly from: string; readonly to: string }
  /** From those of the source to those of the copy. */
  readonly macs: ReadonlyMap<string, string>
}

function renamed(text: string, { instanceId, hostname: { from, to } }: SeedChanges): string {
  const before = readMap('metaData', 'meta-data', text)
  const isNamed = before['local-hostname'] === from && isHostName(to)
  return formatMetaData({
    ...before,
    'instance-id': instanceId,
    ...(isNamed && { 'local-hostname': to }),
  })
}

/** A name of a machine that a guest can have as well. */
export const isHostName = (name: string): boolean =>
  /^(?!-)[a-zA-Z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-zA-Z0-9-]{1,63}(?<!-))*$/u.test(name)

const withMacs = (text: string, macs: SeedChanges['macs']): string =>
  text.replace(/\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b/giu, (mac) => macs.get(mac.toLowerCase()) ?? mac)

function metaDataOf({ instanceId, hostname, metaData }: FirstBoot): string {
  const given = metaData === undefined ? {} : readMap('metaData', 'meta-data', metaData)
  const own = {
    ...(instanceId !== undefined && { 'instance-id': instanceId }),
    ...(hostname !== undefined && { 'local-hostname': hostname }),
  }
  const all = { ...own, ...given }
  if (typeof all['instance-id'] !== 'string' || all['instance-id'] === '')
    throw new VisorError(
      'invalid-argument',
      'It is not said whose first boot it is, by which a guest tells whether it did it before.',
      { path: 'instanceId', remedy: "Set instanceId, best to the machine's uuid." },
    )
  return formatMetaData(all)
}

const formatMetaData = (values: Record<string, unknown>): string => formatYaml(s.any('meta-data'), values)

function refuseBeside(others: Omit<FirstBoot, 'ignition'>): void {
  const { instanceId: _, ...settings } = others
  const beside = Object.entries(settings).find(([, value]) =>
    Array.isArray(value) ? value.length > 0 : value !== undefined,
  )
  if (beside)
    throw new VisorError('invalid-argument', `Ignition reads nothing of '${beside[0]}'.`, {
      path: beside[0],
      remedy: 'Write it into its configuration: users, files, units.',
    })
}

/** Only what makes Ignition refuse it as a whole. */
function checkIgnition(text: string): void {
  const { ignition } = readMap('ignition', 'Ignition configuration', text, 'json')
  const version = isPlainObject(ignition) ? ignition.version : undefined
  if (typeof version !== 'string' || !/^[23]\.\d+\.\d+(?:-experimental)?$/u.test(version))
    throw new VisorError('invalid-argument', "The Ignition configuration says no 'ignition.version'.", {
      path: 'ignition',
      remedy: 'It is JSON such as {"ignition":{"version":"3.4.0"}}; Butane makes it of YAML.',
    })
}
