/**
 * The devices of a domain: libvirt's `<devices>`.
 *
 * Source: libvirt's "Domain XML format", devices; the orders are those of its output. To add a device, add
 * its description in a file of this folder and its list in {@link Devices}.
 */
import { path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { Channel, Console, Parallel, RedirectedDevice, RedirFilter, Serial } from './character.ts'
import { Controller } from './controller.ts'
import { Disk } from './disk.ts'
import { Filesystem } from './filesystem.ts'
import { Graphics, Video } from './graphics.ts'
import { HostDevice, UsbHub } from './host-device.ts'
import { InputDevice } from './input.ts'
import { Interface } from './interface.ts'
import { Iommu } from './iommu.ts'
import { MemoryBalloon, Rng } from './memory-and-random.ts'
import { MemoryDevice } from './memory-device.ts'
import { Crypto, SharedMemory, Vsock } from './shared-with-host.ts'
import { Smartcard } from './smartcard.ts'
import { Audio, Sound } from './sound.ts'
import { Tpm } from './tpm.ts'
import { Panic, Watchdog } from './watchdog.ts'

export * from './character.ts'
export * from './controller.ts'
export * from './disk.ts'
export * from './disk-source.ts'
export * from './disk-throttle.ts'
export * from './filesystem.ts'
export * from './graphics.ts'
export * from './host-device.ts'
export * from './input.ts'
export * from './interface.ts'
export * from './iommu.ts'
export * from './memory-and-random.ts'
export * from './memory-device.ts'
export * from './shared-with-host.ts'
export * from './smartcard.ts'
export * from './sound.ts'
export * from './tpm.ts'
export * from './watchdog.ts'

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
    smartcards: s.array('smartcards', Smartcard, { xml: 'smartcard', default: [], maxItems: 8 }),
    serials: s.array('serial ports', Serial, { xml: 'serial', default: [], maxItems: 16 }),
    parallels: s.array('parallel ports', Parallel, { xml: 'parallel', default: [], maxItems: 3 }),
    consoles: s.array('consoles', Console, { xml: 'console', default: [], maxItems: 16 }),
    channels: s.array('channels', Channel, { xml: 'channel', default: [], maxItems: 64, key: ['name'] }),
    inputs: s.array('input devices', InputDevice, { xml: 'input', default: [], maxItems: 16 }),
    tpms: s.array('trusted platform modules', Tpm, { xml: 'tpm', default: [], maxItems: 2 }),
    graphics: s.array('remote screens', Graphics, { xml: 'graphics', default: [], maxItems: 4 }),
    sounds: s.array('sound cards', Sound, { xml: 'sound', default: [], maxItems: 8 }),
    audios: s.array('host sides of sound', Audio, { xml: 'audio', default: [], maxItems: 8, key: ['id'] }),
    videos: s.array('graphics cards', Video, { xml: 'video', default: [], maxItems: 4 }),
    hostdevs: s.array('devices of the host', HostDevice, { xml: 'hostdev', default: [], maxItems: 64 }),
    redirdevs: s.array('USB ports for devices of the viewer', RedirectedDevice, {
      xml: 'redirdev',
      default: [],
      maxItems: 16,
    }),
    redirFilter: s.field(RedirFilter, { xml: 'redirfilter', optional: true }),
    hubs: s.array('USB hubs', UsbHub, { xml: 'hub', default: [], maxItems: 16 }),
    watchdogs: s.array('watchdogs', Watchdog, { xml: 'watchdog', default: [], maxItems: 4 }),
    memballoon: s.field(MemoryBalloon, { xml: 'memballoon', optional: true }),
    rngs: s.array('sources of randomness', Rng, { xml: 'rng', default: [], maxItems: 4 }),
    panics: s.array('devices that tell of crashes', Panic, { xml: 'panic', default: [], maxItems: 4 }),
    sharedMemories: s.array('memory that guests share', SharedMemory, {
      xml: 'shmem',
      default: [],
      maxItems: 16,
      key: ['name'],
    }),
    memories: s.array('modules of memory', MemoryDevice, { xml: 'memory', default: [], maxItems: 256 }),
    iommu: s.field(Iommu, { xml: 'iommu', optional: true }),
    vsock: s.field(Vsock, { xml: 'vsock', optional: true }),
    cryptos: s.array('devices that encrypt', Crypto, { xml: 'crypto', default: [], maxItems: 8 }),
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
  },
)

export type Devices = s.Output<typeof Devices>
/** Devices as a person or program writes them. */
export type DevicesInput = s.Input<typeof Devices>
