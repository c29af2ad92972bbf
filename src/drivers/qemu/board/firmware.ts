/**
 * Firmware as arguments of QEMU, and the files of its variables. These are of format qcow2, so that whatever
 * keeps a state of the machine can keep theirs in the same way. Source: qemu(1); docs/system/i386/pc.
 */
import { chmod, mkdir, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { runChecked, unlessMissing } from '../../../host/index.ts'
import { VisorError } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { type Fields, keyValue } from '../definition/key-value.ts'
import { atStart, blockdev, type Part } from '../definition/parts.ts'
import type { GuestPaths } from '../paths.ts'

/** Whether the firmware keeps variables in a chip of its own. */
export const hasVariables = ({ os }: CompleteDefinition): boolean =>
  os.loader !== undefined && os.loaderType === 'pflash' && os.loaderStateless !== true

/** The file of the firmware's variables: as defined, or one of visor's own. */
export const variablesFile = ({ os }: CompleteDefinition, paths: GuestPaths): string =>
  os.nvram ?? paths.nvram

export const variablesFormat = ({ os }: CompleteDefinition): 'raw' | 'qcow2' =>
  os.nvram === undefined ? 'qcow2' : (os.nvramFormat ?? 'qcow2')

/** Names of the nodes that the chips of the firmware have. */
export const firmwareNode = 'pflash0'
export const variablesNode = 'pflash1'

/** What `-machine` says of the firmware. */
export function firmwareFields(definition: CompleteDefinition): Fields {
  const { loader, loaderType, loaderSecure } = definition.os
  if (loader === undefined || loaderType !== 'pflash') return {}
  return {
    pflash0: firmwareNode,
    pflash1: hasVariables(definition) ? variablesNode : undefined,
    smm: loaderSecure ? true : undefined,
  }
}

export function firmwareParts(definition: CompleteDefinition, paths: GuestPaths): Part[] {
  const { loader, loaderType, loaderSecure, loaderReadonly, loaderFormat } = definition.os
  if (loader === undefined) return []
  if (loaderType !== 'pflash') return [atStart('-bios', loader)]
  const chip = (name: string, driver: string, filename: string, readonly: boolean) =>
    blockdev({
      driver,
      'node-name': name,
      'read-only': readonly,
      file: { driver: 'file', filename, 'node-name': `${name}-storage`, 'read-only': readonly },
      ...(driver === 'qcow2' ? { backing: null } : {}),
    })
  return [
    chip(firmwareNode, loaderFormat ?? 'raw', loader, loaderReadonly !== false),
    ...(hasVariables(definition)
      ? [chip(variablesNode, variablesFormat(definition), variablesFile(definition, paths), false)]
      : []),
    ...(loaderSecure ? [atStart('-global', 'driver=cfi.pflash01,property=secure,value=on')] : []),
  ]
}

/** Makes the file of the variables where there is none yet, from its template. */
export async function ensureVariables(definition: CompleteDefinition, paths: GuestPaths): Promise<void> {
  if (!hasVariables(definition)) return
  const file = variablesFile(definition, paths)
  if (await unlessMissing(stat(file))) return
  const { nvramTemplate: template } = definition.os
  if (template === undefined)
    throw new VisorError('invalid-state', `The file of firmware variables '${file}' is not there.`, {
      remedy: 'Name a template to make it from (os.nvramTemplate), or put the file back.',
    })
  const partial = `${file}.partial`
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  try {
    const format = variablesFormat(definition)
    // The template is as the firmware's package ships it; a format that is guessed could name other files.
    // All of it has its place from the start: what the guest writes then needs no other change of the file, and is
    // kept when QEMU is killed.
    await runChecked('qemu-img', ['convert', '-S', '0', '-f', 'raw', '-O', format, template, partial])
    // Keys that the guest keeps in it are nobody else's; its own user gets at it by the access list.
    await chmod(partial, 0o600)
    await rename(partial, file)
  } finally {
    await rm(partial, { force: true })
  }
}

/** What `-boot` and its kin say. */
export function bootArguments(definition: CompleteDefinition, kernelParameter?: string): string[] {
  const { os, devices } = definition
  const append = [os.commandLine, kernelParameter].filter((one) => one !== undefined).join(' ')
  const ordered = os.boot.length > 0 || [...devices.disks, ...devices.interfaces].some((one) => one.bootOrder)
  const boot: Fields = {
    menu: os.bootMenu,
    'splash-time': os.bootMenu ? os.bootMenuTimeoutMs : undefined,
    'reboot-timeout': os.rebootTimeoutMs,
    strict: ordered ? true : undefined,
  }
  return [
    ...(os.kernel ? ['-kernel', os.kernel] : []),
    ...(os.initrd ? ['-initrd', os.initrd] : []),
    ...(append === '' ? [] : ['-append', append]),
    ...(os.deviceTree ? ['-dtb', os.deviceTree] : []),
    ...(os.acpiTable ? ['-acpitable', keyValue('', { sig: 'SLIC', file: os.acpiTable })] : []),
    ...(Object.values(boot).some((value) => value !== undefined) ? ['-boot', keyValue('', boot)] : []),
  ]
}
