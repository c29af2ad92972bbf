/** A filter as it is now. */
import * as s from '../schema.ts'

export const Nwfilter = s.object('Nwfilter', 'A filter of what guests send and get', {
  uuid: s.string('identity'),
  name: s.string('name, one of a kind on its host'),
  chain: s.string('where its rules stand'),
  builtIn: s.boolean("whether it is visor's own, and unchanged"),
  usedBy: s.array('names of running guests that it is in force for', s.string('name')),
})
export type Nwfilter = s.Output<typeof Nwfilter>
