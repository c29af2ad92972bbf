/** Remote screens and graphics cards. Source: libvirt's "Domain XML format", devices. */

import { oneWord, path, unknown } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias } from './common.ts'

export const GraphicsListen = s.object('GraphicsListen', 'An address that a screen listens on', {
  type: s.choice('kind of address', ['address', 'socket', 'none'], { xml: '@type' }),
  address: s.string('IP address', { xml: '@address', optional: true, maxLength: 255, ...oneWord }),
  socket: path('unix socket', { xml: '@socket', optional: true }),
  unknown,
})

export const Graphics = s.object('Graphics', 'A remote screen', {
  type: s.choice('protocol', ['vnc'], { xml: '@type', default: 'vnc' }),
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
  listens: s.array('addresses it listens on', GraphicsListen, { xml: 'listen', default: [], maxItems: 4 }),
  alias,
  unknown,
})

export const Video = s.object('Video', 'A graphics card', {
  model: s.choice('model', ['none', 'vga', 'virtio', 'bochs', 'cirrus', 'qxl', 'ramfb'], {
    xml: 'model/@type',
    default: 'vga',
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
  primary: s.boolean('precedence over other cards', { xml: 'model/@primary', as: 'yes-no', optional: true }),
  alias,
  address,
  unknown,
})

export type Graphics = s.Output<typeof Graphics>
export type Video = s.Output<typeof Video>
