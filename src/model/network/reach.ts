/** Whether a guest can be reached, and what is in the way. */
import * as s from '../schema.ts'

/** What can be waited for. */
export const readinessPattern = /^(?:ip|ssh|agent|booted|tcp:\d{1,5})$/u

export const Readiness = s.object('Readiness', 'Whether a guest is as far as was asked', {
  condition: s.string("what was asked for: 'ip', 'ssh', 'agent', 'booted', 'tcp:8080'"),
  reached: s.boolean('whether it is so'),
  message: s.string('a sentence: what is so, or why it is not so yet'),
  address: s.string('the address by which it is so', { optional: true }),
})
export type Readiness = s.Output<typeof Readiness>

export const pathSteps = [
  ...(['guest', 'card', 'link', 'port', 'bridge', 'address', 'senders', 'mode', 'publication'] as const),
  ...(['forwarding', 'route', 'rules', 'translation', 'way out', 'target', 'way back'] as const),
] as const

export const Explanation = s.object('Explanation', 'The way of a packet, and what stops it', {
  from: s.string('address that it is sent from', { optional: true }),
  to: s.string('address that it is for', { optional: true }),
  reached: s.boolean('whether nothing that can be seen here stops it'),
  steps: s.array(
    'the way, in order, as far as it goes',
    s.object('PathStep', 'A part of the way', {
      name: s.choice('which', pathSteps),
      passed: s.boolean('whether the packet gets past it'),
      message: s.string('a sentence about it'),
      remedy: s.string('what to do where it stops', { optional: true }),
    }),
  ),
})
export type Explanation = s.Output<typeof Explanation>
export type PathStep = Explanation['steps'][number]
