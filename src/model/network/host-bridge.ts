/** Bridges of this host that are made from one of its network cards. */
import * as s from '../schema.ts'

/** `planned`: would be made; `pending`: is there, and goes again unless it is confirmed; `active`: is there. */
export const hostBridgeStates = ['planned', 'pending', 'active', 'broken'] as const

export const linkNamePattern = /^(?![.-])[\w.@+~-]{1,15}$/u

const aLink = {
  pattern: linkNamePattern,
  patternName: 'a name of a link: at most 15 letters, digits and . _ -',
}

const lines = <const D extends string>(doc: D) => s.array(doc, s.string('line', { maxLength: 4096 }))

export const HostBridge = s.object('HostBridge', 'A bridge of the host that was made from a network card', {
  name: s.string('name of the bridge', aLink),
  nic: s.string('the network card that is on it', aLink),
  state: s.choice('whether it is there, and stays', hostBridgeStates),
  addresses: s.array('addresses that the card had and the bridge has', s.string('address with its prefix')),
  gateways: s.array('who was reached through the card before', s.string('address'), { default: [] }),
  reached: s.boolean('whether all of them are reached through the bridge now', { optional: true }),
  confirmBy: s.string('when it goes again unless it is confirmed, ISO 8601', { optional: true }),
  plan: lines('what is done, in order, as commands'),
  notes: lines('what is to be known about it'),
  configuration: s.string('what makes it last over a reboot, for who sets the host up', {
    optional: true,
    maxLength: 16_384,
  }),
  message: s.string('what is wrong with it', { optional: true }),
})
export type HostBridge = s.Output<typeof HostBridge>

export const CreateHostBridge = s.object('CreateHostBridge', 'Which bridge', {
  name: s.string('name of the bridge', aLink),
  nic: s.string('the network card whose addresses and routes move to it', aLink),
  confirmSeconds: s.integer('within which it is to be confirmed', { min: 1, max: 3600, default: 30 }),
  dryRun: s.boolean('only say what would be done', { optional: true }),
})
