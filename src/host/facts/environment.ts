import type { HostFiles } from './files.ts'
import { parseMountinfo } from './mounts.ts'
import type { Processor } from './processor.ts'

/** What the host itself is. */
export interface Environment {
  /** Whether it is a virtual machine of somebody else. */
  readonly virtual: boolean
  /** The hypervisor beneath, when it can be told: KVM, VMware, ... */
  readonly hypervisor: string | undefined
  /** The container manager whose guest this is: docker, lxc, ... */
  readonly container: string | undefined
}

/** Vendor and product as the firmware's tables have them, to the hypervisor that writes them so. */
const products: readonly (readonly [RegExp, string])[] = [
  [/vmware/iu, 'VMware'],
  [/innotek|virtualbox/iu, 'VirtualBox'],
  [/microsoft corporation.*virtual machine/iu, 'Hyper-V'],
  [/\bxen\b/iu, 'Xen'],
  [/parallels/iu, 'Parallels'],
  [/bhyve/iu, 'bhyve'],
  [/firecracker/iu, 'Firecracker'],
  [/google compute engine/iu, 'Google Compute Engine'],
  [/openstack/iu, 'OpenStack (KVM)'],
  [/amazon ec2(?!.*\.metal)/iu, 'Amazon EC2'],
  [/apple virtualization/iu, 'Apple Virtualization'],
  [/qemu|kvm|bochs|rhev|ovirt/iu, 'KVM or QEMU'],
]
const clocks: readonly (readonly [RegExp, string])[] = [
  [/kvm-clock/u, 'KVM'],
  [/hyperv/u, 'Hyper-V'],
  [/\bxen\b/u, 'Xen'],
]

/**
 * Tells a physical machine from a virtual one (CPUID's hypervisor flag, the firmware's tables, /sys/hypervisor,
 * the paravirtual clocks) and from a container (what container managers leave for their guests to see).
 */
export function readEnvironment(files: HostFiles, processor: Processor): Environment {
  const hypervisor = readHypervisor(files)
  const container = readContainer(files)
  // Xen's control domain owns the machine, though a hypervisor lies beneath it.
  if (files.read('/proc/xen/capabilities')?.includes('control_d'))
    return { virtual: false, hypervisor: 'Xen', container }
  // Off x86 there is no such flag, and the firmware's tables alone must do.
  const virtual = processor.vendor === 'other' ? hypervisor !== undefined : processor.flags.has('hypervisor')
  return { virtual, hypervisor: virtual ? hypervisor : undefined, container }
}

function readContainer(files: HostFiles): string | undefined {
  const named = files.read('/run/systemd/container')?.trim()
  if (named) return named
  const environment = files.read('/proc/1/environ') ?? ''
  const variable = environment.split('\0').find((entry) => entry.startsWith('container='))
  if (variable) return variable.slice('container='.length) || 'a container manager'
  // Marks that also stay behind in the disk of a machine made from a container image.
  if (ownsItsDisk(files)) return undefined
  if (files.exists('/.dockerenv')) return 'docker'
  return files.exists('/run/.containerenv') ? 'podman' : undefined
}

function ownsItsDisk(files: HostFiles): boolean {
  const root = parseMountinfo(files.read('/proc/self/mountinfo') ?? '').find(({ point }) => point === '/')
  return root !== undefined && root.root === '/' && root.source.startsWith('/dev/')
}

function readHypervisor(files: HostFiles): string | undefined {
  const type = files.read('/sys/hypervisor/type')?.trim()
  if (type === 'xen') return 'Xen'
  const dmi = ['sys_vendor', 'product_name', 'bios_vendor']
    .map((name) => files.read(`/sys/class/dmi/id/${name}`)?.trim() ?? '')
    .join(' ')
  const clock = files.read('/sys/devices/system/clocksource/clocksource0/available_clocksource') ?? ''
  return match(products, dmi) ?? match(clocks, clock) ?? (type || undefined)
}

function match(table: readonly (readonly [RegExp, string])[], text: string): string | undefined {
  return table.find(([pattern]) => pattern.test(text))?.[1]
}

/** How KVM is there: by the processor's own extension, or without it. */
export interface KvmModule {
  /** `intel`, `amd`, or another implementation's name. */
  readonly name: string
  /** Whether guests may themselves run guests; undefined when the module does not say. */
  readonly nested: boolean | undefined
}

/** The KVM implementations that the kernel has, by /sys/module/kvm_*. */
export function readKvmModules(files: HostFiles): KvmModule[] {
  return files
    .list('/sys/module')
    .filter((name) => name.startsWith('kvm_'))
    .map((module) => {
      const nested = files.read(`/sys/module/${module}/parameters/nested`)?.trim()
      return {
        name: module.slice('kvm_'.length),
        nested: nested === undefined ? undefined : nested === 'Y' || nested === '1',
      }
    })
}
