import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { hostFiles, readProcessor } from '../../../../host/index.ts'
import type { DomainDefinitionInput } from '../../../../model/index.ts'
import { completeDefinition } from '../../definition/definition.ts'
import type { Emulator } from '../../emulator/emulator.ts'
import { readHostIdentity } from '../host-identity.ts'

const emulatorOf = (arch: string): Emulator => ({
  path: `/usr/bin/qemu-system-${arch}`,
  arch,
  version: '7.2.22',
  machines: ['q35', 'microvm', 'virt'].map((name) => ({ name, maxCpus: 288, hotplugCpus: true })),
  cpuModels: ['qemu64', 'max', 'cortex-a57'],
  devices: ['virtio-gpu-pci', 'VGA', 'virtio-net-pci'],
  sandbox: true,
})

const complete = (more: Partial<DomainDefinitionInput>) =>
  completeDefinition({ type: 'qemu', name: 'one', memoryKiB: 262_144, ...more } as DomainDefinitionInput, {
    findEmulator: async (arch) => emulatorOf(arch),
    kvm: async () => ({ works: true, detail: '' }),
    firmware: async () => [],
  })

const room = { maxMemoryKiB: 1_048_576, memorySlots: 4 }
const module = { sizeKiB: 131_072 }
const arm = { arch: 'aarch64', machine: 'virt' }
const x86 = { arch: 'x86_64', machine: 'q35' }

const inVain: Record<string, Partial<DomainDefinitionInput>> = {
  'features.tbCacheKiB': { type: 'kvm', features: { tbCacheKiB: 65_536 } },
  'powerManagement.suspendToMemory': { os: arm, powerManagement: { suspendToMemory: false } },
  'clock.timers': { os: x86, clock: { timers: [{ name: 'tsc', present: false }] } },
  'os.firmwareFeatures': { os: { ...x86, firmwareFeatures: [{ name: 'enrolled-keys', enabled: true }] } },
  'os.loaderSecure': { os: { ...x86, loader: '/bios', loaderSecure: true } },
  'os.nvram': { os: { ...x86, loader: '/bios', nvram: '/nvram' } },
  'cpu.migratable': { os: x86, cpu: { model: 'qemu64', migratable: true } },
  'cpu.topology.dies': {
    os: arm,
    vcpus: 2,
    cpu: { topology: { sockets: 1, dies: 2, cores: 1, threads: 1 } },
  },
  'cpu.topology.clusters': {
    os: x86,
    vcpus: 2,
    cpu: { topology: { sockets: 1, clusters: 2, cores: 1, threads: 1 } },
  },
  'cputune.iothreadPins[0].iothread': {
    iothreads: 1,
    cputune: { iothreadPins: [{ iothread: 2, cpuset: '0' }] },
  },
  'memoryBacking.allocationThreads': { memoryBacking: { allocationThreads: 2 } },
  'numatune.cells[0].cell': { numatune: { cells: [{ cell: 1, nodeset: '0' }] } },
  'devices.memories[0].pmem': { ...room, devices: { memories: [{ ...module, model: 'dimm', pmem: true }] } },
  'devices.memories[0].labelKiB': {
    ...room,
    devices: { memories: [{ ...module, model: 'virtio-mem', labelKiB: 128 }] },
  },
}

for (const [path, more] of Object.entries(inVain))
  test(`refused, since it would change nothing: ${path}`, async () => {
    await assert.rejects(complete({ os: x86, ...more }), (error: { code?: string; path?: string }) => {
      assert.equal(error.code, 'unsupported-config')
      assert.match(String(error), new RegExp(RegExp.escape(path), 'u'))
      return true
    })
  })

test('a feature that is forbidden stops a machine on a host that has it', async () => {
  const [flag] = readProcessor(hostFiles()).flags
  if (flag === undefined) return
  const cpu = { model: 'qemu64', features: [{ name: flag, policy: 'forbid' as const }] }
  await assert.rejects(complete({ type: 'kvm', os: x86, cpu }), { code: 'unsupported-config' })
})

test('what the firmware of a host says of it is read, and nothing where it says nothing', () => {
  const root = mkdtempSync(join(tmpdir(), 'visor-dmi-'))
  try {
    assert.equal(readHostIdentity(hostFiles(root)), undefined)
    mkdirSync(join(root, 'sys/class/dmi/id'), { recursive: true })
    for (const [file, text] of [
      ['bios_vendor', 'Maker, Inc.\n'],
      ['product_name', 'Box 1\n'],
      ['board_serial', ' \n'],
    ] as const)
      writeFileSync(join(root, 'sys/class/dmi/id', file), text)
    assert.deepEqual(readHostIdentity(hostFiles(root)), {
      bios: [{ name: 'vendor', value: 'Maker, Inc.' }],
      system: [{ name: 'product', value: 'Box 1' }],
      baseBoard: [],
    })
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
})
