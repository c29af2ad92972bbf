import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { DomainDefinitionInput } from '../src/model/index.ts'

/** The machine that every contender runs: one processor, 256 MiB, a disk, a serial port; emulated. */
export interface Guest {
  readonly name: string
  readonly disk: string
}

/** Makes the disk in a directory: empty, so that the firmware finds nothing to boot and waits. */
export async function makeGuest(directory: string, name = 'bench'): Promise<Guest> {
  const disk = join(directory, 'disk.raw')
  const file = await open(disk, 'w')
  await file.truncate(2 ** 20)
  await file.close()
  return { name, disk }
}

export function visorDefinition({ name, disk }: Guest): DomainDefinitionInput {
  return {
    type: 'qemu',
    name,
    memoryKiB: 256 * 1024,
    vcpus: 1,
    os: { arch: 'x86_64', machine: 'pc' },
    devices: {
      disks: [{ file: disk, target: 'vda', bus: 'virtio' }],
      serials: [{}],
    },
  }
}

/** The same for libvirt, without what it would add by itself. */
export function libvirtDefinition({ name, disk }: Guest): string {
  return `<domain type='qemu'><name>${name}</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><disk type='file'><driver name='qemu' type='raw'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
<controller type='usb' model='none'/><serial type='pty'/><memballoon model='none'/></devices></domain>`
}

/** The names of many guests; they are defined, never started. */
export function guestNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `bench-${String(index).padStart(4, '0')}`)
}
