import type { FeatureState, KernelFeature } from '../../host/index.ts'
import type { CheckFunction, CheckTable, Finding, Subject } from '../subject.ts'

/** A feature of the kernel that visor or its guests use. */
interface Row {
  readonly title: string
  readonly feature: KernelFeature
  /** What it is for: ends the sentence 'Needed for ...'. */
  readonly use: string
  /** Without it nothing is wrong, something is only slower or not offered. */
  readonly optional?: true
  /** Whether it is switched off though it is there; a sentence and the remedy. */
  readonly off?: (subject: Subject) => { readonly detail: string; readonly remedy: string } | undefined
}

const features: Readonly<Record<string, Row>> = {
  overlayfs: {
    title: 'OverlayFS',
    feature: { option: 'CONFIG_OVERLAY_FS', module: 'overlay', filesystem: 'overlay' },
    use: 'containers that share a root filesystem',
  },
  bridge: {
    title: 'Bridge',
    feature: { option: 'CONFIG_BRIDGE', module: 'bridge' },
    use: 'networks that connect guests with each other',
  },
  tun: {
    title: 'TUN/TAP',
    feature: { option: 'CONFIG_TUN', module: 'tun', path: '/dev/net/tun' },
    use: 'network cards of machines on a bridge',
  },
  veth: {
    title: 'veth pairs',
    feature: { option: 'CONFIG_VETH', module: 'veth' },
    use: 'network cards of containers',
  },
  'nf-tables': {
    title: 'nf_tables',
    feature: { option: 'CONFIG_NF_TABLES', module: 'nf_tables' },
    use: 'NAT and filters of networks',
  },
  vxlan: {
    title: 'VXLAN',
    feature: { option: 'CONFIG_VXLAN', module: 'vxlan' },
    use: 'networks that span hosts',
    optional: true,
  },
  macvlan: {
    title: 'macvlan and macvtap',
    feature: { option: 'CONFIG_MACVLAN', module: 'macvlan' },
    use: "guests directly on a host's link",
    optional: true,
  },
  'vhost-net': {
    title: 'vhost-net',
    feature: { option: 'CONFIG_VHOST_NET', module: 'vhost_net', path: '/dev/vhost-net' },
    use: 'faster virtio network cards',
    optional: true,
  },
  'vhost-vsock': {
    title: 'vhost-vsock',
    feature: { option: 'CONFIG_VHOST_VSOCK', module: 'vhost_vsock', path: '/dev/vhost-vsock' },
    use: 'sockets between host and guest without a network',
    optional: true,
  },
  userfaultfd: {
    title: 'userfaultfd',
    feature: { option: 'CONFIG_USERFAULTFD', path: '/proc/sys/vm/unprivileged_userfaultfd' },
    use: 'migration that finishes after the switch, and background snapshots',
    optional: true,
  },
  'io-uring': {
    title: 'io_uring',
    feature: { option: 'CONFIG_IO_URING', path: '/proc/sys/kernel/io_uring_disabled' },
    use: "disks with io='io_uring'",
    optional: true,
    off: ioUringOff,
  },
  ksm: {
    title: 'Same-page merging (KSM)',
    feature: { option: 'CONFIG_KSM', path: '/sys/kernel/mm/ksm/run' },
    use: 'like guests that share memory',
    optional: true,
    off: ksmOff,
  },
  'transparent-huge-pages': {
    title: 'Transparent huge pages',
    feature: { option: 'CONFIG_TRANSPARENT_HUGEPAGE', path: '/sys/kernel/mm/transparent_hugepage/enabled' },
    use: 'faster memory of guests without reserving any',
    optional: true,
    off: hugePagesOff,
  },
  seccomp: {
    title: 'seccomp filters',
    feature: { option: 'CONFIG_SECCOMP_FILTER', path: '/proc/sys/kernel/seccomp/actions_avail' },
    use: 'keeping guest processes away from system calls they do not need',
  },
}

export const kernel: CheckTable = {
  id: 'kernel',
  title: 'Kernel',
  checks: {
    'kernel-configuration': checkConfiguration,
    ...Object.fromEntries(
      Object.entries(features).map(([id, row]): [string, CheckFunction] => [
        id,
        (subject) => examine(row, subject),
      ]),
    ),
    'security-modules': checkSecurityModules,
  },
}

const words: Readonly<Record<FeatureState, string>> = {
  'built-in': 'Built in',
  loaded: 'There',
  loadable: 'A module that loads when it is used',
  absent: 'Not in this kernel',
  unknown: 'Not known: the configuration of this kernel cannot be read',
}

function examine({ title, feature, use, optional, off }: Row, subject: Subject): Finding {
  const state = subject.kernel.stateOf(feature)
  if (state === 'unknown') return { title, status: 'info', detail: `${words[state]}; for ${use}.` }
  if (state === 'absent')
    return {
      title,
      status: optional ? 'info' : 'warn',
      detail: `${words[state]}; needed for ${use}.`,
      remedy: `Boot a kernel with ${feature.option ?? feature.module}; the stock kernels of the distributions have it.`,
    }
  const switchedOff = off?.(subject)
  if (switchedOff) return { title, status: 'info', ...switchedOff }
  return { title, status: 'pass', detail: `${words[state]}; for ${use}.` }
}

function ioUringOff({ files }: Subject) {
  const value = files.read('/proc/sys/kernel/io_uring_disabled')?.trim() ?? '0'
  if (value === '0') return undefined
  const whom = value === '1' ? 'for unprivileged processes outside io_uring_group' : 'for everybody'
  return {
    detail: `Switched off ${whom}; only disks with io='io_uring' miss it.`,
    remedy: 'To allow it, run as root: sysctl kernel.io_uring_disabled=0',
  }
}

function ksmOff({ files }: Subject) {
  return files.read('/sys/kernel/mm/ksm/run')?.trim() === '1'
    ? undefined
    : {
        detail: 'There, but not running; it trades processor time for memory when many like guests run.',
        remedy: 'To start it, run as root: echo 1 > /sys/kernel/mm/ksm/run',
      }
}

function hugePagesOff({ files }: Subject) {
  return files.read('/sys/kernel/mm/transparent_hugepage/enabled')?.includes('[never]')
    ? {
        detail: 'Switched off; memory of guests is then mapped in small pages, which costs some speed.',
        remedy: 'To allow them, run as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled',
      }
    : undefined
}

function checkConfiguration({ kernel: { release, configured } }: Subject): Finding {
  const title = 'Kernel configuration'
  return configured
    ? { title, status: 'info', detail: `Linux ${release}; its configuration can be read.` }
    : {
        title,
        status: 'info',
        detail: `Linux ${release}; its configuration cannot be read, so some features are only known once they are used.`,
        remedy: `Provide /boot/config-${release}, or a kernel with CONFIG_IKCONFIG_PROC.`,
      }
}

function checkSecurityModules({ files }: Subject): Finding {
  const title = 'AppArmor or SELinux'
  const active = files.read('/sys/kernel/security/lsm')?.trim().split(',') ?? []
  const strong = active.filter((name) => name === 'apparmor' || name === 'selinux')
  const enforced = files.read('/sys/fs/selinux/enforce')?.trim()
  if (strong.length === 0)
    return {
      title,
      status: 'info',
      detail: 'Neither is active; guests are confined by their user, namespaces, cgroups and seccomp alone.',
      remedy: "To add one, boot with 'lsm=...,apparmor' (or selinux) on a kernel that has it.",
    }
  const mode = strong.includes('selinux') ? (enforced === '1' ? ', enforcing' : ', permissive') : ''
  return {
    title,
    status: 'pass',
    detail: `${strong.join(', ')}${mode}: a second fence around guest processes.`,
  }
}
