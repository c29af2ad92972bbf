/** Security groups: what is let in to guests that belong together. */
import * as s from '../schema.ts'

const aPort = { min: 1, max: 65_535 } as const
const peer = s.string(
  'who is let in, or reached: an address, a subnet, or the name of a group; anybody without it',
  {
    optional: true,
    pattern: /^[\w.:/-]{1,64}$/u,
    patternName: 'an address, a subnet or the name of a group',
  },
)
const start = s.integer('first port; all without it', { optional: true, ...aPort })
const end = s.integer('last port; the first without it', { optional: true, ...aPort })

export const groupProtocols = ['tcp', 'udp', 'icmp', 'any'] as const

export const GroupRule = s.object('GroupRule', 'What a group lets pass', {
  id: s.string('identity'),
  direction: s.choice('of what begins it, as the guest sees it', ['in', 'out']),
  proto: s.choice('protocol', groupProtocols),
  start,
  end,
  peer,
})
export type GroupRule = s.Output<typeof GroupRule>

export const AllowInGroup = s.object('AllowInGroup', 'What is let pass', {
  direction: s.choice('of what begins it, as the guest sees it', ['in', 'out'], { default: 'in' }),
  proto: s.choice('protocol', groupProtocols, { default: 'any' }),
  start,
  end,
  peer,
})

const GroupMember = s.object('GroupMember', 'A guest of a group', {
  domain: s.string('uuid of the guest'),
  name: s.string('name of the guest'),
})

export const SecurityGroup = s.object('SecurityGroup', 'Guests, and what is let in to them', {
  name: s.string('name, one of a kind on its host', {
    pattern: /^[a-zA-Z][\w-]{0,31}$/u,
    patternName: 'a name of letters, digits and _ -, at most 32',
  }),
  rules: s.array('what is let pass', GroupRule),
  members: s.array('guests that belong to it', GroupMember),
})
export type SecurityGroup = s.Output<typeof SecurityGroup>
