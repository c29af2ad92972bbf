/** Serial ports, consoles and channels. Source: libvirt's "Domain XML format", devices. */

import { oneWord, path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias, bootOrder, deviceOrder } from './common.ts'

const characterSource = {
  type: s.choice('kind of host side', ['pty', 'unix', 'file', 'null'], { xml: '@type', default: 'pty' }),
  mode: s.choice('whether the host side of a socket waits or calls', ['bind', 'connect'], {
    xml: 'source/@mode',
    optional: true,
  }),
  path: path('socket, file or terminal on the host', { xml: 'source/@path', optional: true }),
} as const
const characterOptions = {
  order: { '.': words('@type @tty source protocol log target', deviceOrder) },
} as const

export const Serial = s.object(
  'Serial',
  'A serial port',
  {
    ...characterSource,
    target: s.choice('kind of port', ['isa-serial', 'pci-serial', 'usb-serial', 'system-serial'], {
      xml: 'target/@type',
      optional: true,
    }),
    port: s.integer('number of the port', { xml: 'target/@port', optional: true, min: 0, max: 255 }),
    model: s.string('model of the port', {
      xml: 'target/model/@name',
      optional: true,
      maxLength: 64,
      ...oneWord,
    }),
    alias,
    address,
    unknown,
  },
  characterOptions,
)

export const Console = s.object(
  'Console',
  'The console: for a full machine, its first serial port',
  {
    ...characterSource,
    target: s.choice('kind of device that carries it', ['serial', 'virtio'], {
      xml: 'target/@type',
      default: 'serial',
    }),
    port: s.integer('number of the port', { xml: 'target/@port', optional: true, min: 0, max: 255 }),
    alias,
    address,
    unknown,
  },
  {
    ...characterOptions,
    runtime: { '@tty': 'terminal of the running machine, as source/@path says it too' },
  },
)

export const Channel = s.object(
  'Channel',
  'A channel between host and guest, such as that of the guest agent',
  {
    type: s.choice('kind of host side', ['unix', 'spicevmc'], { xml: '@type', default: 'unix' }),
    mode: characterSource.mode,
    path: path('socket on the host; chosen by visor when absent', { xml: 'source/@path', optional: true }),
    target: s.choice('kind of channel', ['virtio'], { xml: 'target/@type', default: 'virtio' }),
    name: s.string("name in the guest: 'org.qemu.guest_agent.0'", {
      xml: 'target/@name',
      maxLength: 255,
      ...oneWord,
    }),
    alias,
    address,
    unknown,
  },
  { ...characterOptions, runtime: { 'target/@state': 'whether the guest has it open' } },
)

export const RedirectedDevice = s.object('RedirectedDevice', 'A USB port for devices of the viewer', {
  bus: s.choice('kind of bus', ['usb'], { xml: '@bus', default: 'usb' }),
  type: s.choice('kind of host side', ['spicevmc'], { xml: '@type', default: 'spicevmc' }),
  bootOrder,
  alias,
  address,
  unknown,
})

export type RedirectedDevice = s.Output<typeof RedirectedDevice>
export type Serial = s.Output<typeof Serial>
export type Console = s.Output<typeof Console>
export type Channel = s.Output<typeof Channel>
