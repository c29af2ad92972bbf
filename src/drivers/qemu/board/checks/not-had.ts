/** What libvirt's documents name for a machine's board and this driver does not have: why, and what to do instead. */
import { type HostFiles, hostFiles } from '../../../../host/index.ts'
import type { DomainDefinition } from '../../../../model/index.ts'
import { unsupported } from '../../definition/unsupported.ts'

/** Fails with `unsupported-config` that says more than that it is not known. */
export function refuseNotHad(
  definition: DomainDefinition,
  files: Pick<HostFiles, 'read'> = hostFiles(),
): void {
  const { unknown = [], features, cpu, numatune, memtune, vcpuPlacement } = definition
  const launch = unknown.find(({ path }) => path === 'launchSecurity')
  if (launch) {
    const kind = /type=['"]([\w-]+)['"]/u.exec(launch.xml)?.[1] ?? ''
    const remedy =
      'Remove launchSecurity; what the guest writes to disks can be encrypted (LUKS) all the same.'
    throw unsupported(
      'launchSecurity',
      `memory encrypted against the host ('${kind}'): ${lacking(kind, files)}`,
      remedy,
    )
  }
  if (features.msrs !== undefined)
    throw unsupported(
      'features.msrs',
      'KVM answers unknown registers alike for all guests of a host',
      "Remove it, and say it to the host: the parameter 'ignore_msrs' of its module kvm.",
    )
  if (memtune?.unknown?.some(({ path }) => path === 'min_guarantee'))
    throw unsupported(
      'memtune/min_guarantee',
      'no memory can be promised to QEMU; libvirt refuses it as well',
      'Lock the memory (memoryBacking/locked), or use huge pages.',
    )
  if (vcpuPlacement === 'auto' || numatune?.placement === 'auto')
    throw unsupported(
      vcpuPlacement === 'auto' ? 'vcpuPlacement' : 'numatune.placement',
      "libvirt asks the daemon numad where a guest fits best at its start, and that is not asked here: 'auto'",
      'Name the processors (vcpu cpuset) and nodes (numatune nodeset), or leave it to the kernel: remove it.',
    )
  const modes = [numatune?.mode, ...(numatune?.cells ?? []).map(({ mode }) => mode)]
  if (modes.includes('restrictive'))
    throw unsupported(
      'numatune.mode',
      "nodes are said to QEMU, which binds its memory to them, and not by control groups: 'restrictive'",
      "Use 'strict' or 'preferred'.",
    )
  if (cpu?.match === 'minimum' || cpu?.match === 'strict')
    throw unsupported(
      'cpu.match',
      `the guest gets the very processor that is named, not '${cpu.match}'`,
      cpu.match === 'minimum'
        ? "Use mode 'host-passthrough' or 'maximum' with the features that must be there (policy 'require')."
        : "Name what the host must not have as features with the policy 'forbid'.",
    )
}

/** What keeps this host from it, as far as the kernel tells. */
function lacking(kind: string, files: Pick<HostFiles, 'read'>): string {
  const needs: Readonly<Record<string, readonly [file: string, maker: string]>> = {
    sev: ['/sys/module/kvm_amd/parameters/sev', 'SEV of AMD'],
    'sev-snp': ['/sys/module/kvm_amd/parameters/sev_snp', 'SEV-SNP of AMD'],
    tdx: ['/sys/module/kvm_intel/parameters/tdx', 'TDX of Intel'],
    's390-pv': ['/sys/firmware/uv/prot_virt_host', 'protected virtualization of IBM Z'],
  }
  const [file, maker] = needs[kind] ?? []
  if (file === undefined) return 'there is no such kind'
  const said = files.read(file)?.trim()
  if (said === undefined) return `the kernel of this host has no ${maker} (${file} is not there)`
  if (!/^(?:1|y|Y)$/u.test(said)) return `${maker} is switched off on this host (${file} is '${said}')`
  return `this host has ${maker}, but no driver here starts machines with it yet`
}
