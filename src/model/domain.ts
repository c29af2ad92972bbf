/**
 * A domain as it is now, and what it uses.
 */
import * as s from './schema.ts'

/** libvirt's virDomainState. `blocked` (Xen) and `pmsuspended` are states of a running machine. */
export const domainStates = [
  'running',
  'blocked',
  'paused',
  'shutdown',
  'shutoff',
  'crashed',
  'pmsuspended',
] as const

/** Why a domain is in its state; libvirt's reasons, in words. */
export const domainStateReasons = [
  'unknown',
  'booted',
  'restored',
  'resumed',
  'adopted',
  'starting',
  'user',
  'saving',
  'dumping',
  'io-error',
  'watchdog',
  'shutdown',
  'destroyed',
  'crashed',
  'saved',
  'failed',
  'migrating',
  'migrated',
] as const

export const Domain = s.object('Domain', 'A virtual machine or container, as it is now', {
  uuid: s.string('identity'),
  name: s.string('name'),
  driver: s.string('scheme of the driver that runs it'),
  type: s.string('type of its definition: qemu, kvm, v86, ...'),
  id: s.integer('number among the running ones', { optional: true }),
  state: s.choice('state', domainStates),
  reason: s.choice('why it is in this state', domainStateReasons),
  message: s.string('what went wrong last, a sentence', { optional: true }),
  persistent: s.boolean('whether it outlives its run'),
  autostart: s.boolean('whether it starts with the daemon'),
  protectedFrom: s.array('what must not be done to it', s.choice('verb', ['undefine', 'start']), {
    optional: true,
  }),
  saved: s.boolean('whether a saved state waits to be restored'),
  title: s.string('one line about it', { optional: true }),
  vcpus: s.integer('virtual processors'),
  memoryKiB: s.integer('memory now'),
  maxMemoryKiB: s.integer('the most memory there can be'),
  startedAt: s.string('when it started, ISO 8601', { optional: true }),
  pid: s.integer('process on the host', { optional: true }),
})
export type Domain = s.Output<typeof Domain>
export type DomainState = Domain['state']
export type DomainStateReason = Domain['reason']

/** What the numbers of keys mean; words of libvirt's virKeycodeSet. */
export const keyCodesets = ['linux', 'qnum', 'xt', 'atset1', 'usb', 'win32'] as const

const count = (doc: string) => s.integer(doc, { optional: true, min: 0 })

export const BlockStats = s.object('BlockStats', 'What a disk did', {
  name: s.string('target name'),
  path: s.string('image file or device', { optional: true }),
  readRequests: count('reads'),
  readBytes: count('bytes read'),
  readTimeNs: count('time in reads, nanoseconds'),
  readErrors: count('reads that failed'),
  writeRequests: count('writes'),
  writeBytes: count('bytes written'),
  writeTimeNs: count('time in writes, nanoseconds'),
  writeErrors: count('writes that failed'),
  flushRequests: count('flushes'),
  flushTimeNs: count('time in flushes, nanoseconds'),
  unmapRequests: count('discards'),
  unmapBytes: count('bytes discarded'),
  capacityBytes: count('size the guest sees'),
  allocationBytes: count('highest byte written'),
  physicalBytes: count('size on the host'),
})

export const InterfaceStats = s.object('InterfaceStats', 'What a network interface did, seen by the guest', {
  name: s.string('host link or alias'),
  rxBytes: count('bytes received'),
  rxPackets: count('packets received'),
  rxErrors: count('receive errors'),
  rxDrops: count('receive drops'),
  txBytes: count('bytes sent'),
  txPackets: count('packets sent'),
  txErrors: count('send errors'),
  txDrops: count('send drops'),
})

export const DomainStats = s.object('DomainStats', 'What a domain uses; counters since its start', {
  uuid: s.string('identity'),
  name: s.string('name'),
  state: s.choice('state', domainStates),
  cpuTimeNs: count('processor time, nanoseconds'),
  cpuUserNs: count('of it in user mode'),
  cpuSystemNs: count('of it in the kernel'),
  vcpus: s.array(
    'per virtual processor',
    s.object('VcpuStats', 'One virtual processor', {
      id: s.integer('number'),
      timeNs: count('processor time, nanoseconds'),
      delayNs: count('time it waited for a processor of the host, nanoseconds'),
    }),
  ),
  memoryKiB: count('memory the guest has now'),
  maxMemoryKiB: count('the most memory there can be'),
  residentKiB: count('memory it takes on the host'),
  minorFaults: count('page faults of its process on the host that needed no disk'),
  majorFaults: count('page faults of its process on the host that read a disk'),
  guestMemory: s.object(
    'GuestMemory',
    'What the guest says of its memory, where its balloon asks it',
    {
      swapInKiB: count('read back from swap'),
      swapOutKiB: count('written to swap'),
      majorFaults: count('page faults that read a disk'),
      minorFaults: count('page faults that did not'),
      unusedKiB: count('memory nobody uses'),
      availableKiB: count('memory it has'),
      usableKiB: count('memory that programs could have without swapping'),
      diskCachesKiB: count('memory that could be freed at once'),
      hugePagesAllocated: count('huge pages that programs got'),
      hugePagesFailed: count('huge pages that there were none of'),
      updatedAt: s.string('when the guest told, ISO 8601'),
    },
    { optional: true },
  ),
  blocks: s.array('disks', BlockStats),
  interfaces: s.array('network interfaces', InterfaceStats),
})
export type DomainStats = s.Output<typeof DomainStats>
export type BlockStats = s.Output<typeof BlockStats>
export type InterfaceStats = s.Output<typeof InterfaceStats>
