/**
 * The devices of a domain: libvirt's `<devices>`.
 *
 * Source: libvirt's "Domain XML format", devices; the orders are those of its output. To add a device, add
 * its description in a file of this folder and its list in {@link Devices}.
 */
import { path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { Channel, Console, Serial } from './character.ts'
import { Controller } from './controller.ts'
import { Disk } from './disk.ts'
import { Filesystem } from './filesystem.ts'
import { Graphics, Video } from './graphics.ts'
import { InputDevice } from './input.ts'
import { Interface } from './interface.ts'
import { MemoryBalloon, Rng } from './memory-and-random.ts'
import { MemoryDevice } from './memory-device.ts'
import { Tpm } from './tpm.ts'

export * from './character.ts'
export * from './controller.ts'
export * from './disk.ts'
export * from './disk-source.ts'
export * from './disk-throttle.ts'
export * from './filesystem.ts'
export * from './graphics.ts'
export * from './input.ts'
export * from './interface.ts'
export * from './memory-and-random.ts'
export * from './memory-device.ts'
export * from './tpm.ts'

export const Devices = s.object(
  'Devices',
  'Everything that is plugged in',
  {
    emulator: path('program that runs the machine', { xml: 'emulator', optional: true }),
    disks: s.array('disks', Disk, { xml: 'disk', default: [], maxItems: 512, key: ['target'] }),
    controllers: s.array('controllers', Controller, {
      xml: 'controller',
      default: [],
      maxItems: 256,
      key: ['type', 'index'],
    }),
    filesystems: s.array('shared folders', Filesystem, {
      xml: 'filesystem',
      default: [],
      maxItems: 64,
      key: ['target'],
    }),
    interfaces: s.array('network interfaces', Interface, {
      xml: 'interface',
      default: [],
      maxItems: 256,
      key: ['mac'],
    }),
    serials: s.array('serial ports', Serial, { xml: 'serial', default: [], maxItems: 16 }),
    consoles: s.array('consoles', Console, { xml: 'console', default: [], maxItems: 16 }),
    channels: s.array('channels', Channel, { xml: 'channel', default: [], maxItems: 64, key: ['name'] }),
    inputs: s.array('input devices', InputDevice, { xml: 'input', default: [], maxItems: 16 }),
    tpms: s.array('trusted platform modules', Tpm, { xml: 'tpm', default: [], maxItems: 2 }),
    graphics: s.array('remote screens', Graphics, { xml: 'graphics', default: [], maxItems: 4 }),
    videos: s.array('graphics cards', Video, { xml: 'video', default: [], maxItems: 4 }),
    memballoon: s.field(MemoryBalloon, { xml: 'memballoon', optional: true }),
    rngs: s.array('sources of randomness', Rng, { xml: 'rng', default: [], maxItems: 4 }),
    memories: s.array('modules of memory', MemoryDevice, { xml: 'memory', default: [], maxItems: 256 }),
    unknown,
  },
  {
    order: {
      '.': words(
        'emulator disk controller lease filesystem interface smartcard serial',
        'parallel console channel input tpm graphics sound audio video hostdev',
        'redirdev redirfilter hub watchdog memballoon rng nvram panic shmem',
        'memory iommu vsock crypto',
      ),
    },
    inertXml: {
      audio: {
        reason: 'a host sound system that nothing is connected to',
        when: /^<audio\s+(?:id=["']\d+["']\s+)?type=["']none["']\s*\/>$/u,
      },
    },
  },
)

export type Devices = s.Output<typeof Devices>
/** Devices as a person or program writes them. */
export type DevicesInput = s.Input<typeof Devices>
