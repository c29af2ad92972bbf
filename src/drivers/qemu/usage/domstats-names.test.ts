/** Each number that `virsh domstats` knows is one of ours, or is not for a reason. Source: virsh(1), domstats. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import type { BlockStats, Domain, DomainStats, InterfaceStats } from '../../../model/index.ts'

const page = '/usr/share/man/man1/virsh.1.gz'
const skip = existsSync(page) ? false : "virsh's manual page is not here: install libvirt-clients"

type Vcpu = DomainStats['vcpus'][number]
type Ours = { readonly stats?: keyof DomainStats } & {
  readonly domain?: keyof Domain
  readonly vcpu?: keyof Vcpu
  readonly guest?: keyof NonNullable<DomainStats['guestMemory']>
  readonly net?: keyof InterfaceStats
  readonly block?: keyof BlockStats
}

const perfCounters = "counters of the host's perf: 'perf stat --pid' reads them from the guest's process"
const resctrl = 'needs resctrl of the host, which is not used'
const haltPolling = "told by KVM's debugfs, which is not part of its interface"
const dirtyRate = 'is measured when it is asked for, and by a migration, not all the time'
const asDefined = 'what the definition says'

/** By name; numbers of devices are left out. */
const known: Readonly<Record<string, Ours | string>> = {
  'state.state': { stats: 'state' },
  'state.reason': { domain: 'reason' },
  'cpu.time': { stats: 'cpuTimeNs' },
  'cpu.user': { stats: 'cpuUserNs' },
  'cpu.system': { stats: 'cpuSystemNs' },
  'cpu.cache.': resctrl,
  'cpu.haltpoll.': haltPolling,
  'memory.bandwidth.': resctrl,
  'perf.': perfCounters,
  'dirtyrate.': dirtyRate,
  'balloon.current': { stats: 'memoryKiB' },
  'balloon.maximum': { stats: 'maxMemoryKiB' },
  'balloon.rss': { stats: 'residentKiB' },
  'balloon.swap_in': { guest: 'swapInKiB' },
  'balloon.swap_out': { guest: 'swapOutKiB' },
  'balloon.major_fault': { guest: 'majorFaults' },
  'balloon.minor_fault': { guest: 'minorFaults' },
  'balloon.unused': { guest: 'unusedKiB' },
  'balloon.available': { guest: 'availableKiB' },
  'balloon.usable': { guest: 'usableKiB' },
  'balloon.disk_caches': { guest: 'diskCachesKiB' },
  'balloon.last-update': { guest: 'updatedAt' },
  'balloon.hugetlb_pgalloc': { guest: 'hugePagesAllocated' },
  'balloon.hugetlb_pgfail': { guest: 'hugePagesFailed' },
  'vcpu.current': { stats: 'vcpus' },
  'vcpu.maximum': asDefined,
  'vcpu.time': { vcpu: 'timeNs' },
  'vcpu.delay': { vcpu: 'delayNs' },
  'vcpu.state': 'those that run are listed, others are not',
  'vcpu.wait': 'the kernel tells it only with statistics of its scheduler that are off by default',
  'vcpu.halted': 'QEMU no longer tells it of x86 processors; their time tells as much',
  'net.count': { stats: 'interfaces' },
  'net.name': { net: 'name' },
  'net.rx.bytes': { net: 'rxBytes' },
  'net.rx.pkts': { net: 'rxPackets' },
  'net.rx.errs': { net: 'rxErrors' },
  'net.rx.drop': { net: 'rxDrops' },
  'net.tx.bytes': { net: 'txBytes' },
  'net.tx.pkts': { net: 'txPackets' },
  'net.tx.errs': { net: 'txErrors' },
  'net.tx.drop': { net: 'txDrops' },
  'block.count': { stats: 'blocks' },
  'block.name': { block: 'name' },
  'block.path': { block: 'path' },
  'block.backingIndex': 'images below others are told by their path, in the definition',
  'block.rd.reqs': { block: 'readRequests' },
  'block.rd.bytes': { block: 'readBytes' },
  'block.rd.times': { block: 'readTimeNs' },
  'block.wr.reqs': { block: 'writeRequests' },
  'block.wr.bytes': { block: 'writeBytes' },
  'block.wr.times': { block: 'writeTimeNs' },
  'block.fl.reqs': { block: 'flushRequests' },
  'block.fl.times': { block: 'flushTimeNs' },
  'block.errors': 'Xen only; ours are readErrors and writeErrors',
  'block.allocation': { block: 'allocationBytes' },
  'block.capacity': { block: 'capacityBytes' },
  'block.physical': { block: 'physicalBytes' },
  'block.threshold': 'is set by nobody: a threshold of writes cannot be asked for',
  'iothread.': asDefined,
}

test('what virsh domstats tells is told here, or is not for a reason', { skip }, () => {
  const text = gunzipSync(readFileSync(page)).toString('utf8')
  const from = text.indexOf('.SS domstats')
  const section = text
    .slice(from, text.indexOf('.SS', from + 3))
    .replace(/\\f[A-Z]|\\&/gu, '')
    .replaceAll('\\-', '-')
    .replace(/\.<\w+>/gu, '')
  const names = section.matchAll(
    /\b(?:state|cpu|balloon|vcpu|net|block|perf|iothread|memory|dirtyrate)\.[\w.-]*\w\b/gu,
  )
  const found = new Set([...names].map(([name]) => name))
  assert.ok(found.size >= 60, `${found.size}`)
  const isKnown = (name: string) =>
    name in known || Object.keys(known).some((one) => one.endsWith('.') && name.startsWith(one))
  assert.deepEqual(
    [...found].filter((name) => !isKnown(name)),
    [],
  )
})
