/** Sound cards, and where their sound goes. Source: libvirt's "Domain XML format", sound and audio devices. */
import { path, unknown, words } from '../domain-words.ts'
import * as s from '../schema.ts'
import { address, alias } from './common.ts'

const SoundCodec = s.object('SoundCodec', 'A converter on an HDA card', {
  type: s.choice('kind', ['duplex', 'micro', 'output'], { xml: '@type' }),
  unknown,
})

export const Sound = s.object(
  'Sound',
  'A sound card',
  {
    model: s.choice('model', ['ich9', 'ich6', 'ac97', 'es1370', 'sb16', 'usb', 'pcspk', 'ich7', 'virtio'], {
      xml: '@model',
      names: true,
    }),
    codecs: s.array('converters of an HDA card', SoundCodec, { xml: 'codec', default: [], maxItems: 4 }),
    audio: s.integer('number of the host side', { xml: 'audio/@id', optional: true, min: 1, max: 255 }),
    alias,
    address,
    unknown,
  },
  { order: { '.': words('@model codec audio alias address') } },
)

export const Audio = s.object(
  'Audio',
  'Where sound goes on the host',
  {
    id: s.integer('number that sound cards name', { xml: '@id', inert: true, min: 1, max: 255 }),
    type: s.choice(
      'kind',
      ['none', 'alsa', 'coreaudio', 'jack', 'oss', 'pulseaudio', 'sdl', 'spice', 'file', 'dbus'],
      { xml: '@type', default: 'none' },
    ),
    path: path('sound file that is written', { xml: '@path', optional: true }),
    unknown,
  },
  // libvirt has one in every definition.
  { silent: true },
)

export type Sound = s.Output<typeof Sound>
export type Audio = s.Output<typeof Audio>
