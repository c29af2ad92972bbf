import type { Check, ProbeResult } from '../../../model/index.ts'
import { toVisorError } from '../../../model/index.ts'
import { type Emulator, findEmulators, inspectEmulator, isAtLeast, oldestVersion } from './emulator.ts'
import { tryKvm } from './kvm.ts'

const install =
  "Install QEMU: 'apt install qemu-system-x86' on Debian and Ubuntu, 'dnf install qemu-kvm' on Fedora."

/** Whether this host can run QEMU guests, and how: runs QEMU, and a tiny guest under KVM. */
export async function probe({ signal }: { readonly signal?: AbortSignal } = {}): Promise<ProbeResult> {
  const [found] = await findEmulators()
  const checks: Check[] = []
  const result = (available: boolean, kind: ProbeResult['kind'], version?: string): ProbeResult => ({
    driver: 'qemu',
    available,
    ...(version ? { version } : {}),
    kind,
    hosting: 'hosted',
    checks,
  })
  if (!found) {
    checks.push({
      id: 'qemu-binary',
      title: 'QEMU',
      status: 'fail',
      detail: "The program 'qemu-system-x86_64' is not in PATH.",
      remedy: install,
    })
    return result(false, 'emulation')
  }
  const emulator = await inspectEmulator(found.arch, found.path).catch((error: unknown) =>
    toVisorError(error),
  )
  if (emulator instanceof Error) {
    checks.push({
      id: 'qemu-binary',
      title: 'QEMU',
      status: 'fail',
      detail: `${found.path} does not run: ${emulator.message}`,
      remedy: install,
    })
    return result(false, 'emulation')
  }
  const recent = isAtLeast(emulator.version, oldestVersion)
  checks.push(...emulatorChecks(emulator, recent))
  if (!recent) return result(false, 'emulation', emulator.version)
  const kvm = await tryKvm(emulator.path, signal)
  checks.push({
    id: 'kvm-guest',
    title: 'KVM',
    status: kvm.works ? 'pass' : 'warn',
    detail: kvm.detail,
    ...(kvm.remedy ? { remedy: kvm.remedy } : {}),
  })
  return result(true, kvm.works ? 'hardware-assisted' : 'emulation', emulator.version)
}

function emulatorChecks(emulator: Emulator, recent: boolean): Check[] {
  const { path, version, machines, cpuModels, sandbox, asRoot } = emulator
  return [
    {
      id: 'qemu-binary',
      title: 'QEMU',
      status: recent ? 'pass' : 'fail',
      detail: `${path}, version ${version}${recent ? '' : `; at least ${oldestVersion} is needed`}.`,
      ...(recent ? {} : { remedy: 'Use a newer release of the distribution, or its backports.' }),
    },
    {
      id: 'qemu-machines',
      title: 'Machine types',
      status: 'info',
      detail: `${machines.length} machine types (${machines.flatMap(({ alias }) => alias ?? []).join(', ')}), ${cpuModels.length} processor models.`,
    },
    {
      id: 'qemu-sandbox',
      title: 'System call filter',
      status: sandbox ? 'pass' : 'warn',
      detail: sandbox
        ? 'QEMU gives up the system calls it does not need (seccomp).'
        : 'This QEMU was built without seccomp: a guest that breaks out of it finds more open doors.',
      ...(sandbox ? {} : { remedy: "Use the distribution's own QEMU." }),
    },
    ...(asRoot === undefined
      ? []
      : [
          {
            id: 'qemu-user',
            title: 'Unprivileged QEMU',
            status: 'warn' as const,
            detail: `${path} does not run as a user of its own, only as root: ${asRoot}`,
            remedy: 'Let all users run it (mode 0755, and folders above that can be entered).',
          },
        ]),
  ]
}
