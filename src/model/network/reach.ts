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
