/** Serial and parallel ports, consoles and channels. Source: libvirt's "Domain XML format", devices. */

import { oneWord, path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias, bootOrder, deviceOrder } from './common.ts'

/** All kinds of host sides that libvirt has for ports. */
export const characterKinds = [
  ...(['pty', 'unix', 'file', 'null', 'tcp', 'udp', 'pipe', 'dev', 'vc', 'stdio', 'nmdm'] as const),
  ...(['spicevmc', 'spiceport', 'dbus', 'qemu-vdagent'] as const),
] as const
const hostAddress = {
  maxLength: 255,
  pattern: /^[\w.:%[\]-]*$/u,
  patternName: 'a name or an address of a host',
} as const
const portOfHost = { maxLength: 32, pattern: /^\w[\w-]*$/u, patternName: 'a port, such as 4555' } as const

const CharacterPeer = s.object(
  'CharacterPeer',
  'Where a udp port sends to, when its source says what it listens on',
  {
    mode: s.choice('it sends', ['connect'], { xml: '@mode', default: 'connect' }),
    host: s.string('address that is sent to', { xml: '@host', optional: true, ...hostAddress }),
    service: s.string('port of it', { xml: '@service', ...portOfHost }),
    unknown,
  },
)

/** What is on the host side of a port, whatever kind of port it is. */
export const characterSource = {
  mode: s.choice('whether the host side waits for callers or calls', ['bind', 'connect'], {
    xml: 'source/@mode',
    optional: true,
  }),
  path: path('socket, file, pipe or terminal on the host', { xml: 'source/@path', optional: true }),
  host: s.string('address that is listened on, called or sent to (tcp, udp)', {
    xml: 'source/@host',
    optional: true,
    ...hostAddress,
  }),
  service: s.string('port of it', { xml: 'source/@service', optional: true, ...portOfHost }),
  tls: s.boolean('TLS (tcp)', { xml: 'source/@tls', as: 'yes-no', optional: true }),
  tlsDirectory: path(
    'folder with the certificates: ca-cert.pem, and server-cert.pem and server-key.pem or client-*.pem',
    { xml: 'source/@tlsDirectory', optional: true },
  ),
  append: s.boolean('whether the file keeps what is in it; it does when absent', {
    xml: 'source/@append',
    as: 'on-off',
    optional: true,
  }),
  channel: s.string('name of the channel (spiceport, dbus)', {
    xml: 'source/@channel',
    optional: true,
    maxLength: 255,
    ...oneWord,
  }),
  reconnect: s.boolean('whether it calls again when the line breaks (tcp, unix)', {
    xml: 'source/reconnect/@enabled',
    as: 'yes-no',
    optional: true,
  }),
  reconnectSeconds: s.integer('time between two calls', {
    xml: 'source/reconnect/@timeout',
    optional: true,
    min: 1,
    max: 86_400,
  }),
  clipboard: s.boolean('common clipboard with the screen (qemu-vdagent)', {
    xml: 'source/clipboard/@copypaste',
    as: 'yes-no',
    optional: true,
  }),
  mouse: s.choice('who draws the pointer (qemu-vdagent)', ['server', 'client'], {
    xml: 'source/mouse/@mode',
    optional: true,
  }),
  peer: s.field(CharacterPeer, { xml: 'source#2', optional: true }),
  protocol: s.choice('protocol of the line (tcp)', ['raw', 'telnet', 'telnets', 'tls'], {
    xml: 'protocol/@type',
    optional: true,
  }),
  logFile: path('file that all output is written to as well', { xml: 'log/@file', optional: true }),
  logAppend: s.boolean('whether that file keeps what is in it', {
    xml: 'log/@append',
    as: 'on-off',
    optional: true,
  }),
} as const
const characterType = s.choice('kind of host side', characterKinds, { xml: '@type', default: 'pty' })
const CharacterDevice = s.object('CharacterDevice', 'The host side of a port', {
  type: characterType,
  ...characterSource,
})
const characterOptions = {
  order: {
    '.': words('@type @tty source source#2 protocol log target', deviceOrder),
    source: words(
      '@mode @path @host @service @tls @tlsDirectory @append @channel @master @slave',
      'clipboard mouse reconnect',
    ),
  },
} as const

export const Serial = s.object(
  'Serial',
  'A serial port',
  {
    type: characterType,
    ...characterSource,
    target: s.choice(
      'kind of port',
      [
        ...(['isa-serial', 'pci-serial', 'usb-serial', 'system-serial'] as const),
        ...(['spapr-vio-serial', 'sclp-serial', 'isa-debug'] as const),
      ],
      { xml: 'target/@type', optional: true },
    ),
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
    type: characterType,
    ...characterSource,
    target: s.choice('kind of device that carries it', ['serial', 'virtio', 'sclp', 'sclplm'], {
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

export const Parallel = s.object(
  'Parallel',
  'A parallel port',
  {
    type: characterType,
    ...characterSource,
    port: s.integer('number of the port', { xml: 'target/@port', optional: true, min: 0, max: 2 }),
    alias,
    address,
    unknown,
  },
  characterOptions,
)

export const Channel = s.object(
  'Channel',
  'A channel between host and guest, such as that of the guest agent',
  {
    type: s.choice('kind of host side', characterKinds, { xml: '@type', default: 'unix' }),
    ...characterSource,
    path: path('socket, file, pipe or terminal on the host; a socket is chosen by visor when absent', {
      xml: 'source/@path',
      optional: true,
    }),
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

const anyNumber = {
  pattern: /^(?:-1|0x[0-9a-fA-F]{1,4}|\d{1,5})$/u,
  patternName: "a number such as '0x08', or '-1' for all",
} as const

const RedirRule = s.object('RedirRule', 'What may be plugged in, or may not; all where nothing is said', {
  class: s.string('class of the USB device', { xml: '@class', optional: true, ...anyNumber }),
  vendor: s.string('its vendor', { xml: '@vendor', optional: true, ...anyNumber }),
  product: s.string('its product number', { xml: '@product', optional: true, ...anyNumber }),
  version: s.string('its version', {
    xml: '@version',
    optional: true,
    pattern: /^(?:-1|\d{1,2}\.\d{1,2})$/u,
    patternName: "a version such as '1.09'",
  }),
  allow: s.boolean('whether it may', { xml: '@allow', as: 'yes-no' }),
  unknown,
})

export const RedirFilter = s.object('RedirFilter', 'Which devices of the viewer may be plugged in', {
  rules: s.array('rules; the first that fits counts', RedirRule, {
    xml: 'usbdev',
    default: [],
    maxItems: 256,
  }),
  unknown,
})

export const RedirectedDevice = s.object(
  'RedirectedDevice',
  'A USB port for devices of the viewer',
  {
    bus: s.choice('kind of bus', ['usb'], { xml: '@bus', default: 'usb' }),
    type: s.choice('kind of host side', characterKinds, { xml: '@type', default: 'spicevmc' }),
    ...characterSource,
    bootOrder,
    alias,
    address,
    unknown,
  },
  {
    order: {
      ...characterOptions.order,
      '.': words('@bus @type source source#2 protocol log target', deviceOrder),
    },
  },
)

/** The host side of any port. */
export type CharacterSource = Partial<s.Output<typeof CharacterDevice>> & Pick<Serial, 'type'>
export type RedirectedDevice = s.Output<typeof RedirectedDevice>
export type Serial = s.Output<typeof Serial>
export type Console = s.Output<typeof Console>
export type Parallel = s.Output<typeof Parallel>
export type Channel = s.Output<typeof Channel>
