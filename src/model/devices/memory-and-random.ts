/** The balloon, and sources of randomness. Source: libvirt's "Domain XML format", devices. */

import { path, unknown } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias } from './common.ts'

export const Rng = s.object('Rng', 'A source of randomness', {
  model: s.choice('model', ['virtio'], { xml: '@model', default: 'virtio' }),
  rateBytes: s.integer('most bytes in a period', {
    xml: 'rate/@bytes',
    optional: true,
    min: 1,
    max: 2 ** 31,
  }),
  ratePeriodMs: s.integer('length of a period', {
    xml: 'rate/@period',
    optional: true,
    min: 1,
    max: 2 ** 31,
  }),
  backend: s.choice('origin of the randomness', ['random', 'builtin', 'egd'], {
    xml: 'backend/@model',
    default: 'random',
  }),
  source: path('device on the host', { xml: 'backend', optional: true }),
  daemonType: s.choice("kind of socket of an 'egd' daemon", ['unix', 'tcp'], {
    xml: 'backend/@type',
    optional: true,
  }),
  daemonMode: s.choice('who calls whom', ['connect', 'bind'], {
    xml: 'backend/source/@mode',
    optional: true,
  }),
  daemonPath: path('socket of the daemon', { xml: 'backend/source/@path', optional: true }),
  daemonHost: s.string('host of the daemon', { xml: 'backend/source/@host', optional: true }),
  daemonService: s.string('port of the daemon', { xml: 'backend/source/@service', optional: true }),
  daemonProtocol: s.choice('protocol under it', ['raw', 'telnet', 'telnets', 'tls'], {
    xml: 'backend/protocol/@type',
    optional: true,
  }),
  alias,
  address,
  unknown,
})

export const MemoryBalloon = s.object('MemoryBalloon', 'The balloon that gives memory back', {
  model: s.choice('model', ['virtio', 'none'], { xml: '@model', default: 'virtio' }),
  autodeflate: s.boolean('deflation before the guest runs out of memory', {
    xml: '@autodeflate',
    as: 'on-off',
    optional: true,
  }),
  freePageReporting: s.boolean('return of free pages to the host', {
    xml: '@freePageReporting',
    as: 'on-off',
    optional: true,
  }),
  statsPeriodSeconds: s.integer('time between statistics', {
    xml: 'stats/@period',
    optional: true,
    min: 0,
    max: 86_400,
  }),
  alias,
  address,
  unknown,
})
