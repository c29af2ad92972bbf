/** What no machine that runs is given. */
import { type DomainDefinition, VisorError } from '../../../model/index.ts'
import type { DeviceKind } from './one-device.ts'

export function notWhileRunning({ name }: DomainDefinition, kind: DeviceKind): VisorError {
  if (kind === 'filesystems')
    return new VisorError(
      'unsupported-config',
      `Domain '${name}' runs, and is given no share by 9p meanwhile.`,
      {
        remedy: "Use the driver 'virtiofs', or change it for the next start only (config).",
        path: 'devices.filesystems',
      },
    )
  return new VisorError(
    'unsupported-config',
    `Domain '${name}' runs, and its ${kind} stay as they are meanwhile.`,
    {
      remedy: 'Change it for the next start only (config).',
      path: `devices.${kind}`,
    },
  )
}
