import { readKvmModules } from '../../host/index.ts'
import type { CheckTable, Finding, Subject } from '../subject.ts'

const device = '/dev/kvm'

export const kvm: CheckTable = {
  id: 'kvm',
  title: 'KVM',
  checks: {
    'kvm-module': checkModule,
    'kvm-device': checkDevice,
    'kvm-permission': checkPermission,
    'kvm-nested': checkNested,
  },
}

function hasExtension({ processor }: Subject): boolean {
  return processor.flags.has('vmx') || processor.flags.has('svm')
}

function checkModule(subject: Subject): Finding {
  const title = 'Kernel module'
  const names = readKvmModules(subject.files).map(({ name }) => `kvm_${name}`)
  const paravirtual = names.filter((name) => !['kvm_intel', 'kvm_amd'].includes(name))
  if (paravirtual.length > 0 && !hasExtension(subject))
    return {
      title,
      status: 'info',
      detail: `${paravirtual.join(', ')}: a paravirtual KVM that does without the processor's extension. Which guests it can run only a trial tells; see the qemu driver's checks.`,
    }
  if (names.length > 0) return { title, status: 'pass', detail: `${names.join(', ')} is there.` }
  if (subject.files.exists(device)) return { title, status: 'pass', detail: 'KVM is part of the kernel.' }
  const module = subject.processor.vendor === 'AMD' ? 'kvm_amd' : 'kvm_intel'
  const state = subject.kernel.stateOf({ option: `CONFIG_${module.toUpperCase()}`, module })
  if (!hasExtension(subject))
    return {
      title,
      status: 'info',
      detail: 'Not loaded: the processor shows no extension that KVM could use.',
    }
  return state === 'absent'
    ? {
        title,
        status: 'warn',
        detail: `This kernel was made without ${module}, so guests are emulated.`,
        remedy: "Boot the distribution's stock kernel, which has it.",
      }
    : {
        title,
        status: 'warn',
        detail: `${module} is not loaded, so guests are emulated.`,
        remedy: `Run as root: modprobe ${module}`,
      }
}

function checkDevice(subject: Subject): Finding {
  const title = device
  if (subject.files.exists(device)) return { title, status: 'pass', detail: 'It is there.' }
  const detail = 'It is missing, so guests are emulated: correct, but 10 to 50 times slower.'
  if (!hasExtension(subject)) return { title, status: 'warn', detail, remedy: 'See the processor above.' }
  return subject.environment.container
    ? {
        title,
        status: 'warn',
        detail,
        remedy: `Start the container with the device, such as: docker run --device ${device}`,
      }
    : { title, status: 'warn', detail, remedy: 'See the kernel module above.' }
}

function checkPermission({ files, user }: Subject): Finding | undefined {
  if (!files.exists(device)) return undefined
  const title = `Use of ${device}`
  if (files.permits(device, 'read-write'))
    return { title, status: 'pass', detail: `The user ${user.name} may use it.` }
  const gid = files.groupOf(device)
  const group = groupName(files.read('/etc/group') ?? '', gid)
  return {
    title,
    status: 'warn',
    detail: `The user ${user.name} may not use it, so this user's guests are emulated.`,
    remedy:
      group && gid !== 0
        ? `Run as root: usermod -aG ${group} ${user.name}, then log in again.`
        : `Run as root: chown root:kvm ${device} && chmod 660 ${device} && usermod -aG kvm ${user.name}, then log in again.`,
  }
}

function groupName(text: string, gid: number | undefined): string | undefined {
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .find(([, , id]) => gid !== undefined && id === String(gid))?.[0]
}

function checkNested(subject: Subject): Finding | undefined {
  const module = readKvmModules(subject.files).find(({ nested }) => nested !== undefined)
  if (!module) return undefined
  return {
    title: 'Nested guests',
    status: 'info',
    detail: module.nested
      ? 'Guests may run guests of their own, when they are given the extension.'
      : 'Guests cannot run guests of their own.',
    ...(module.nested
      ? {}
      : {
          remedy: `When they shall, with no guest running: modprobe -r kvm_${module.name}; modprobe kvm_${module.name} nested=1`,
        }),
  }
}
