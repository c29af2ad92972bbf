import { readFirmwareSwitch, saysDisabledByFirmware } from '../../host/index.ts'
import type { CheckTable, Finding, Subject } from '../subject.ts'

export const processor: CheckTable = {
  id: 'processor',
  title: 'Processor',
  checks: {
    environment: checkEnvironment,
    'processor-virtualization': checkExtension,
    'firmware-virtualization': checkFirmware,
    'nested-paging': checkNestedPaging,
  },
}

const extensions = {
  Intel: {
    flag: 'vmx',
    name: 'Intel VT-x',
    paging: 'ept',
    setting: "'Intel Virtualization Technology' (VT-x)",
  },
  AMD: { flag: 'svm', name: 'AMD-V', paging: 'npt', setting: "'SVM Mode' (AMD-V)" },
} as const

/** What the host is, as an end of the sentence 'This host is ...'. */
export function describeEnvironment({ environment }: Subject): string {
  const { virtual, hypervisor, container } = environment
  const machine = virtual
    ? `a virtual machine${hypervisor ? ` under ${hypervisor}` : ''}`
    : 'a physical machine'
  if (container) return `a container (${container}) on ${machine}`
  return hypervisor && !virtual ? `${machine}, as the control domain of ${hypervisor}` : machine
}

function checkEnvironment(subject: Subject): Finding {
  const title = 'Kind of host'
  const detail = `This host is ${describeEnvironment(subject)}.`
  if (!subject.environment.container) return { title, status: 'info', detail }
  return {
    title,
    status: 'warn',
    detail: `${detail} Devices, networks and control groups are only there as far as the container was given them.`,
    remedy:
      'Run visord on the machine itself, or give the container /dev/kvm, /dev/net/tun and its own cgroup.',
  }
}

function checkExtension(subject: Subject): Finding {
  const title = 'Virtualization extension'
  const { vendor, flags } = subject.processor
  if (vendor === 'other')
    return { title, status: 'info', detail: 'Only x86 processors list it; /dev/kvm tells here.' }
  const { flag, name } = extensions[vendor]
  if (flags.has(flag))
    return {
      title,
      status: 'pass',
      detail: `${name} (${flag}): KVM can run guests at the processor's own speed.`,
    }
  const missing = `The processor does not show ${name} (${flag}), which KVM needs to run guests at full speed.`
  if (subject.environment.virtual)
    return {
      title,
      status: 'warn',
      detail: `${missing} The hypervisor beneath this virtual machine does not pass it on.`,
      remedy: nestingRemedy(subject.environment.hypervisor, flag),
    }
  return {
    title,
    status: 'warn',
    detail: `${missing} Nearly every processor of the last fifteen years has it: the firmware switched it off, or this one is an exception.`,
    remedy: firmwareRemedy(vendor),
  }
}

/** What to do on the outside so that a virtual machine can run virtual machines. */
function nestingRemedy(hypervisor: string | undefined, flag: 'vmx' | 'svm'): string {
  const module = flag === 'vmx' ? 'kvm_intel' : 'kvm_amd'
  const remedies: Readonly<Record<string, string>> = {
    VMware:
      "Shut this machine down and tick 'Expose hardware assisted virtualization to the guest OS' in its CPU settings.",
    VirtualBox: 'On the outer host, with this machine off, run: VBoxManage modifyvm NAME --nested-hw-virt on',
    'Hyper-V':
      'On the outer host, with this machine off, run: Set-VMProcessor -VMName NAME -ExposeVirtualizationExtensions $true',
    Xen: "Set 'nestedhvm = 1' in this machine's configuration on the outer host.",
    'Amazon EC2': "Use an instance type that ends in '.metal'.",
    'Google Compute Engine':
      'Allow nested virtualization: set advancedMachineFeatures.enableNestedVirtualization of the instance to true.',
  }
  return (
    remedies[hypervisor ?? ''] ??
    `On the outer host, load ${module} with nested=1 and give this machine the processor mode host-passthrough; on rented machines, ask the provider for nested virtualization.`
  )
}

function firmwareRemedy(vendor: 'Intel' | 'AMD'): string {
  return `Enter the firmware setup (BIOS or UEFI) at boot, enable ${extensions[vendor].setting}, save, and switch the machine off and on again.`
}

function checkFirmware(subject: Subject): Finding | undefined {
  const { vendor } = subject.processor
  // A virtual machine's firmware has no such switch.
  if (vendor === 'other' || subject.environment.virtual) return undefined
  const title = 'Firmware switch'
  const { name } = extensions[vendor]
  const state = readFirmwareSwitch(subject.files, vendor)
  if (state === 'disabled' || saysDisabledByFirmware(subject.files.read('/dev/kmsg') ?? ''))
    return {
      title,
      status: 'warn',
      detail: `The firmware has switched ${name} off, so KVM cannot use it and guests are emulated.`,
      remedy: firmwareRemedy(vendor),
    }
  if (state === 'enabled' || state === 'unlocked')
    return { title, status: 'pass', detail: `The firmware lets ${name} be used.` }
  const shown = subject.processor.flags.has(extensions[vendor].flag)
  const detail = shown
    ? `The processor shows ${name} and the kernel does not complain, so the firmware lets it be used.`
    : 'It could not be read: that takes root and the msr module.'
  return {
    title,
    status: shown ? 'pass' : 'info',
    detail,
    ...(shown ? {} : { remedy: 'Run as root: modprobe msr, then visor doctor again.' }),
  }
}

function checkNestedPaging({ processor: { vendor, flags } }: Subject): Finding | undefined {
  if (vendor === 'other' || !flags.has(extensions[vendor].flag)) return undefined
  const { paging } = extensions[vendor]
  return flags.has(paging)
    ? {
        title: 'Nested paging',
        status: 'pass',
        detail: `${paging}: guests change their page tables without help.`,
      }
    : {
        title: 'Nested paging',
        status: 'warn',
        detail: `The processor lacks ${paging}; KVM shadows page tables in software, which is slow.`,
      }
}
