/** Work that the hypervisor does on a disk of a running domain. Source: libvirt's virDomainBlockJobInfo. */
import * as s from './schema.ts'

export const BlockJob = s.object('BlockJob', 'Work on a disk of a running domain', {
  disk: s.string('target name of the disk'),
  type: s.choice('what is done', ['pull', 'copy', 'commit', 'active-commit', 'backup']),
  state: s.choice('state', ['running', 'ready', 'paused', 'concluded']),
  doneBytes: s.integer('how much is done', { min: 0 }),
  totalBytes: s.integer('how much there is', { min: 0 }),
  bandwidthBytes: s.integer('limit, bytes in a second', { optional: true, min: 0 }),
})
export type BlockJob = s.Output<typeof BlockJob>
