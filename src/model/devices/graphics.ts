/** Remote screens and graphics cards. Source: libvirt's "Domain XML format", devices. */

import { oneWord, path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias } from './common.ts'

export const GraphicsListen = s.object('GraphicsListen', 'An address that a screen listens on', {
  type: s.choice('kind of address', ['address', 'socket', 'none'], { xml: '@type' }),
  address: s.string('IP address', { xml: '@address', optional: true, maxLength: 255, ...oneWord }),
  socket: path('unix socket', { xml: '@socket', optional: true }),
  unknown,
})

export const SpiceChannel = s.object('SpiceChannel', 'Whether a channel of a SPICE screen needs TLS', {
  name: s.choice(
    'name of the channel',
    [
      ...(['main', 'display', 'inputs', 'cursor', 'playback', 'record'] as const),
      ...(['smartcard', 'usbredir'] as const),
    ],
    { xml: '@name' },
  ),
  mode: s.choice('whether it needs TLS', ['secure', 'insecure', 'any'], { xml: '@mode' }),
  unknown,
})

const port = (doc: string, xml: string) => s.integer(doc, { xml, optional: true, min: -1, max: 65_535 })
const compressions = ['auto', 'never', 'always'] as const

export const Graphics = s.object(
  'Graphics',
  'A remote screen',
  {
    type: s.choice('protocol', ['vnc', 'spice', 'egl-headless', 'dbus'], { xml: '@type', default: 'vnc' }),
    socket: path('unix socket it listens on; chosen by visor when neither it nor a port is given', {
      xml: '@socket',
      optional: true,
    }),
    port: s.integer('TCP port; -1 for one that is free', {
      xml: '@port',
      optional: true,
      min: -1,
      max: 65_535,
    }),
    autoport: s.boolean('choice of a free port', { xml: '@autoport', as: 'yes-no', optional: true }),
    listen: s.string('IP address it listens on', {
      xml: '@listen',
      optional: true,
      maxLength: 255,
      ...oneWord,
    }),
    keymap: s.string('keyboard layout', { xml: '@keymap', optional: true, maxLength: 32, ...oneWord }),
    websocket: port('TCP port for browsers (VNC); -1 for one that is free', '@websocket'),
    passwordFile: path(
      'file on the host with the password, one line; VNC takes 8 bytes, and encrypts nothing',
      {
        xml: '@passwdFile',
        optional: true,
      },
    ),
    passwordValidTo: s.string('when the password ends, in UTC', {
      xml: '@passwdValidTo',
      optional: true,
      pattern: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$/u,
      patternName: "a time such as '2030-12-31T23:59:59'",
    }),
    passwordConnected: s.choice(
      'what a new password does to those who look',
      ['keep', 'disconnect', 'fail'],
      {
        xml: '@connected',
        optional: true,
      },
    ),
    sharePolicy: s.choice('whether several may look (VNC)', ['allow-exclusive', 'force-shared', 'ignore'], {
      xml: '@sharePolicy',
      optional: true,
    }),
    tlsPort: port('TCP port with TLS (SPICE); -1 for one that is free', '@tlsPort'),
    defaultMode: s.choice('whether channels need TLS (SPICE)', ['secure', 'insecure', 'any'], {
      xml: '@defaultMode',
      optional: true,
    }),
    tlsDirectory: path(
      'folder with certificates for TLS: ca-cert.pem, server-cert.pem, server-key.pem; VNC has TLS where it is named',
      { xml: '@tlsDirectory', optional: true },
    ),
    tlsVerify: s.boolean('whether who looks needs a certificate of that authority too (VNC)', {
      xml: '@tlsVerify',
      as: 'yes-no',
      optional: true,
    }),
    p2p: s.boolean('a line of their own for those who look, which the monitor of QEMU takes (dbus)', {
      xml: '@p2p',
      as: 'yes-no',
      optional: true,
    }),
    address: s.string('address of the bus (dbus)', {
      xml: '@address',
      optional: true,
      maxLength: 4095,
      pattern: /^[\w-]+:[^\s\p{Cc}]+$/u,
      patternName: "an address such as 'unix:path=/run/bus'",
    }),
    channels: s.array('which channels need TLS (SPICE)', SpiceChannel, {
      xml: 'channel',
      default: [],
      maxItems: 16,
      key: ['name'],
    }),
    listens: s.array('addresses it listens on', GraphicsListen, { xml: 'listen', default: [], maxItems: 4 }),
    imageCompression: s.choice(
      'compression of images (SPICE)',
      ['auto_glz', 'auto_lz', 'quic', 'glz', 'lz', 'off'],
      { xml: 'image/@compression', optional: true },
    ),
    jpegCompression: s.choice('lossy compression on slow links (SPICE)', compressions, {
      xml: 'jpeg/@compression',
      optional: true,
    }),
    zlibCompression: s.choice('further compression on slow links (SPICE)', compressions, {
      xml: 'zlib/@compression',
      optional: true,
    }),
    playbackCompression: s.boolean('compression of sound (SPICE)', {
      xml: 'playback/@compression',
      as: 'on-off',
      optional: true,
    }),
    streaming: s.choice('what is sent as video (SPICE)', ['filter', 'all', 'off'], {
      xml: 'streaming/@mode',
      optional: true,
    }),
    clipboard: s.boolean('common clipboard (SPICE)', {
      xml: 'clipboard/@copypaste',
      as: 'yes-no',
      optional: true,
    }),
    mouse: s.choice('who draws the pointer (SPICE)', ['server', 'client'], {
      xml: 'mouse/@mode',
      optional: true,
    }),
    fileTransfer: s.boolean('files from the viewer to the guest (SPICE)', {
      xml: 'filetransfer/@enable',
      as: 'yes-no',
      optional: true,
    }),
    gl: s.boolean('drawing by the graphics card of the host', {
      xml: 'gl/@enable',
      as: 'yes-no',
      optional: true,
    }),
    renderNode: path('graphics card of the host', { xml: 'gl/@rendernode', optional: true }),
    audio: s.integer('number of the host side of sound (VNC)', {
      xml: 'audio/@id',
      optional: true,
      min: 1,
      max: 255,
    }),
    alias,
    unknown,
  },
  {
    order: {
      '.': words(
        '@type @socket @port @autoport @tlsPort @websocket @listen @keymap @defaultMode @passwd @passwdFile @passwdValidTo @connected @powerControl @sharePolicy @tlsDirectory @tlsVerify @p2p @address',
        'listen channel audio image jpeg zlib playback streaming clipboard mouse filetransfer gl',
      ),
    },
  },
)

export const Video = s.object('Video', 'A graphics card', {
  model: s.choice('model', ['none', 'vga', 'virtio', 'bochs', 'cirrus', 'qxl', 'ramfb', 'vmvga'], {
    xml: 'model/@type',
    default: 'vga',
    names: true,
  }),
  ramKiB: s.integer('main memory of a qxl card', { xml: 'model/@ram', optional: true, min: 1, max: 1048576 }),
  vramKiB: s.integer('video memory', { xml: 'model/@vram', optional: true, min: 1, max: 1048576 }),
  vgaMemoryKiB: s.integer('VGA memory of a qxl card', {
    xml: 'model/@vgamem',
    optional: true,
    min: 1,
    max: 1048576,
  }),
  heads: s.integer('number of screens', { xml: 'model/@heads', optional: true, min: 1, max: 16 }),
  blob: s.boolean('memory of the host as images (virtio)', {
    xml: 'model/@blob',
    as: 'on-off',
    optional: true,
  }),
  primary: s.boolean('precedence over other cards', { xml: 'model/@primary', as: 'yes-no', optional: true }),
  accel3d: s.boolean('3D by the graphics card of the host (virtio)', {
    xml: 'model/acceleration/@accel3d',
    as: 'yes-no',
    optional: true,
  }),
  width: s.integer('width the guest starts with, in pixels', {
    xml: 'model/resolution/@x',
    optional: true,
    min: 1,
    max: 16_384,
  }),
  height: s.integer('height the guest starts with, in pixels', {
    xml: 'model/resolution/@y',
    optional: true,
    min: 1,
    max: 16_384,
  }),
  alias,
  address,
  unknown,
})

export type Graphics = s.Output<typeof Graphics>
export type Video = s.Output<typeof Video>
