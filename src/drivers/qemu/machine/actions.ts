/**
 * What a machine does by itself when its guest powers off, reboots or panics; the rest is done when QEMU has
 * told (see policies.ts). Source: -action in qemu(1), set-action in QEMU's QMP reference.
 */
import type { DomainDefinition } from '../../../model/index.ts'
import type { QmpEvent } from '../qmp/index.ts'

type Policies = Pick<DomainDefinition, 'onPoweroff' | 'onReboot' | 'onCrash'> & {
  readonly devices?: {
    readonly disks: unknown
    readonly watchdogs?: readonly { readonly action?: string | undefined }[]
  }
}
export type LifecycleAction = Policies['onCrash']

export interface Actions {
  readonly reboot: 'reset' | 'shutdown'
  readonly shutdown: 'poweroff' | 'pause'
  readonly panic: 'pause' | 'shutdown'
  readonly watchdog: string | undefined
}

/** As little as QEMU must leave to us: what it does itself happens whether or not a visord runs. */
export function actionsOf(policies: Policies): Actions {
  const { onPoweroff, onReboot, onCrash } = policies
  const watchdog = watchdogOf(policies)
  return {
    reboot: onReboot === 'restart' ? 'reset' : 'shutdown',
    // One that is to end when it reboots, and stays when it powers off, is ended by us.
    shutdown: onPoweroff === 'destroy' && onReboot !== 'preserve' ? 'poweroff' : 'pause',
    panic: onCrash === 'destroy' ? 'shutdown' : 'pause',
    watchdog: watchdog === 'dump' ? 'pause' : watchdog,
  }
}

/** What a watchdog does; QEMU has one action for all of them, and libvirt refuses others than the first one's. */
export function watchdogOf({ devices }: Policies): string | undefined {
  const [first] = devices?.watchdogs ?? []
  return first && (first.action ?? 'reset')
}

/** Which policy a SHUTDOWN is of: QEMU calls a reboot so where it may not reset. None, when QEMU itself was ended. */
export function policyOf(
  { data }: Pick<QmpEvent, 'data'>,
  { onPoweroff, onReboot }: Policies,
): LifecycleAction | undefined {
  switch (data.reason) {
    case 'guest-shutdown':
      return onPoweroff
    case 'guest-reset':
    case 'host-qmp-system-reset':
      return onReboot
    default:
      return undefined
  }
}
