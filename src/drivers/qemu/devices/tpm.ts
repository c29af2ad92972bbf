/**
 * Trusted platform modules: swtpm, a process beside that of the machine. It ends by itself when QEMU lets go of
 * it, and is found again by a later daemon as machines are. Source: swtpm(8), qemu(1) "-tpmdev".
 */
import { lchown, mkdir, open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type FileAccess,
  type GuestProcess,
  type GuestUser,
  guestFolderName,
  unlessMissing,
} from '../../../host/index.ts'
import { type DomainDefinition, type Tpm, VisorError } from '../../../model/index.ts'
import { familyOf } from '../board/machine-type.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { atStart, chardev, device, type Part } from '../definition/parts.ts'
import { unsupported } from '../definition/unsupported.ts'
import { findProgram } from '../emulator/emulator.ts'
import { adoptCompanions, endCompanion, startCompanion } from '../machine/companion.ts'
import type { Machine } from '../machine/machine.ts'
import type { GuestPaths } from '../paths.ts'

/** The definition's modules with all that is chosen for them. */
export function completeTpms({ devices }: Pick<DomainDefinition, 'devices'>, machine: string): Tpm[] {
  const isPc = ['q35', 'pc'].includes(familyOf(machine))
  return devices.tpms.map((tpm, index) => ({
    ...tpm,
    model: tpm.model ?? (isPc ? 'tpm-crb' : 'tpm-tis'),
    ...(tpm.backend === 'emulator' ? { version: tpm.version ?? ('2.0' as const) } : {}),
    alias: tpm.alias ?? `tpm${index}`,
  }))
}

/** Fails with `unsupported-config` where this host or machine cannot have it. */
export async function checkTpms({ devices, os }: CompleteDefinition): Promise<void> {
  const [tpm, second] = devices.tpms
  if (second) throw unsupported('devices.tpms[1]', 'a machine can have one module only')
  if (!tpm) return
  if (tpm.backend === 'passthrough' && tpm.device === undefined)
    throw unsupported('devices.tpms[0].device', 'is needed for passthrough', "Name it, such as '/dev/tpm0'.")
  checkSocket(tpm)
  if (tpm.backend === 'emulator' && !(await findProgram('swtpm')))
    throw unsupported(
      'devices.tpms[0]',
      "the program 'swtpm', which emulates it, is not installed",
      "Install it: 'apt install swtpm' on Debian and Ubuntu, 'dnf install swtpm' on Fedora.",
    )
  const isPc = ['q35', 'pc'].includes(familyOf(os.machine ?? ''))
  if (!isPc && (tpm.model !== 'tpm-tis' || os.arch !== 'aarch64'))
    throw unsupported('devices.tpms[0].model', `'${os.machine}' of '${os.arch}' has no '${tpm.model}'`)
  if (tpm.model === 'tpm-crb' && tpm.version === '1.2')
    throw unsupported(
      'devices.tpms[0].version',
      "the interface 'tpm-crb' is of version 2.0",
      "Use 'tpm-tis'.",
    )
  if (isPc && os.kernel !== undefined && os.initrd !== undefined && os.loader === undefined)
    await checkKernel(os.kernel)
}

function checkSocket(tpm: Tpm): void {
  const { backend, socket } = tpm
  if (backend === 'external' && socket === undefined)
    throw unsupported(
      'devices.tpms[0].socket',
      'is needed for a module that another program serves',
      "Name its socket, that of 'swtpm socket --tpm2 --ctrl type=unixio,path=...'.",
    )
  for (const key of ['sourceType', 'sourceMode', 'socket'] as const)
    if (backend !== 'external' && tpm[key] !== undefined)
      throw unsupported(`devices.tpms[0].${key}`, "is for the backend 'external'")
  for (const key of ['version', 'persistentState'] as const)
    if (backend !== 'emulator' && tpm[key] !== undefined)
      throw unsupported(
        `devices.tpms[0].${key}`,
        'is up to who serves the module',
        "Use 'emulator', or leave it out.",
      )
  if (backend !== 'passthrough' && tpm.device !== undefined)
    throw unsupported('devices.tpms[0].device', "is for the backend 'passthrough'")
}

/** What QEMU opens for it: the device of the host, or the socket of who serves it. */
export function filesOfTpm({ backend, device, socket }: Tpm): FileAccess[] {
  const path = backend === 'passthrough' ? device : backend === 'external' ? socket : undefined
  if (path === undefined) return []
  return [{ path, write: true, what: backend === 'external' ? 'socket' : 'device' }]
}

/**
 * The BIOS has a log of the module beside its ACPI tables, and QEMU puts the RAM disk of an unpacked kernel, which
 * it starts by another way (PVH), over both: the guest would find neither module nor power button.
 */
async function checkKernel(kernel: string): Promise<void> {
  const file = await unlessMissing(open(kernel))
  if (!file) return
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0)
    if (buffer.toString('latin1') === '\x7fELF')
      throw unsupported(
        'devices.tpms[0]',
        `is not found by a guest whose kernel '${kernel}' is unpacked and started by the BIOS`,
        "Use the packed kernel (vmlinuz), or UEFI (os.firmware 'efi').",
      )
  } finally {
    await file.close()
  }
}

export function tpmParts({ devices, os }: CompleteDefinition, paths: GuestPaths): Part[] {
  return devices.tpms.flatMap(({ alias = 'tpm0', model = 'tpm-crb', backend, device: node, socket }) => {
    const id = `tpm-${alias}`
    const driver = os.arch === 'aarch64' ? 'tpm-tis-device' : model
    const front = device(driver, { id: alias, tpmdev: id })
    if (backend === 'passthrough')
      return [atStart('-tpmdev', `passthrough,id=${id},path=${(node ?? '').replaceAll(',', ',,')}`), front]
    return [
      chardev('socket', { id: `chr${id}`, path: backend === 'external' ? socket : tpmSocket(paths) }),
      atStart('-tpmdev', `emulator,id=${id},chardev=chr${id}`),
      front,
    ]
  })
}

const tpmSocket = ({ tpmDirectory }: GuestPaths) => join(tpmDirectory, guestFolderName, 'tpm.sock')

/** Starts what emulates the machine's module, if it has one; resolves when QEMU can reach it. */
export async function startTpm(
  context: Context,
  { uuid, name, devices }: CompleteDefinition,
  paths: GuestPaths,
  user: GuestUser | undefined,
): Promise<GuestProcess | undefined> {
  const tpm = devices.tpms.find(({ backend }) => backend === 'emulator')
  if (!tpm) return undefined
  const program = await findProgram('swtpm')
  if (program === undefined)
    throw new VisorError(
      'unavailable',
      `The TPM of domain '${name}' needs 'swtpm', which is not installed.`,
      {
        remedy: "Install it, such as by 'apt install swtpm'.",
      },
    )
  await mkdir(paths.tpm, { recursive: true, mode: 0o700 })
  if (user) await giveState(paths.tpm, user)
  const socket = tpmSocket(paths)
  const args = ['socket', '--tpmstate', `dir=${paths.tpm},mode=0600`, '--ctrl', `type=unixio,path=${socket}`]
  if (tpm.version !== '1.2') args.push('--tpm2')
  return startCompanion(context, {
    directory: paths.tpmDirectory,
    name: `swtpm-${uuid}`,
    what: `TPM of domain '${name}'`,
    program,
    args: [...args, '--terminate'],
    env: { PATH: process.env.PATH, HOME: paths.tpm },
    socket,
    user,
    access: [{ path: paths.tpm, folder: true, what: 'state of the TPM' }],
    details: { uuid },
  })
}

/** What it keeps belongs to the user that it has this time. */
async function giveState(directory: string, { uid, gid }: GuestUser): Promise<void> {
  await lchown(directory, uid, gid)
  for (const name of await readdir(directory)) await lchown(join(directory, name), uid, gid)
}

/** Finds modules whose machines run; those of others, which nobody talks to, are ended. */
export function adoptTpms(context: Context, machineOf: (uuid: string) => Machine | undefined): Promise<void> {
  return adoptCompanions(context, context.paths.tpms, machineOf, ({ companions }, guest) => {
    companions.add(() => endCompanion(guest))
  })
}
