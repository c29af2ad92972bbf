/** Features of the machine. Source: libvirt's "Domain XML format", hypervisor features. */
import { unknown, words } from './domain-words.ts'
import * as s from './schema.ts'

const state = (doc: string, xml: string) =>
  s.boolean(doc, { xml: `${xml}/@state`, as: 'on-off', optional: true })

export const HyperV = s.object('HyperV', "Microsoft's interface of hypervisors, for Windows", {
  mode: s.choice('which of them', ['custom', 'passthrough'], { xml: '@mode', optional: true }),
  relaxed: state('no watchdog over the timers', 'relaxed'),
  vapic: state('virtual interrupt controller', 'vapic'),
  spinlocks: state('help for spinning processors', 'spinlocks'),
  spinlockRetries: s.integer('tries before the hypervisor is told', {
    xml: 'spinlocks/@retries',
    optional: true,
    min: 4095,
    max: 2 ** 32 - 1,
  }),
  vpindex: state('index of the processor', 'vpindex'),
  runtime: state('time the processor ran', 'runtime'),
  synic: state('synthetic interrupt controller', 'synic'),
  stimer: state('synthetic timers', 'stimer'),
  stimerDirect: state('direct interrupts of synthetic timers', 'stimer/direct'),
  reset: state('reset', 'reset'),
  vendorId: state('name of the hypervisor', 'vendor_id'),
  vendorIdValue: s.string('the name', {
    xml: 'vendor_id/@value',
    optional: true,
    pattern: /^[^,\p{Cc}]{1,12}$/u,
    patternName: 'at most 12 characters without commas',
  }),
  frequencies: state('frequency registers', 'frequencies'),
  reenlightenment: state('notice of a migration', 'reenlightenment'),
  tlbflush: state('flush of address caches', 'tlbflush'),
  ipi: state('interrupts between processors', 'ipi'),
  evmcs: state('enlightened nested virtualization', 'evmcs'),
  avic: state("AMD's and Intel's virtual interrupt controllers", 'avic'),
  unknown,
})

export const KvmFeatures = s.object('KvmFeatures', 'Interface of KVM', {
  hidden: state('hide that there is a hypervisor', 'hidden'),
  dedicated: state('tell the guest that its processors are its own', 'hint-dedicated'),
  pollControl: state('let the guest control polling', 'poll-control'),
  pvIpi: state('paravirtual interrupts between processors', 'pv-ipi'),
  dirtyRing: state('ring of changed pages', 'dirty-ring'),
  dirtyRingSize: s.integer('entries of the ring', {
    xml: 'dirty-ring/@size',
    optional: true,
    min: 1024,
    max: 65_536,
  }),
  unknown,
})

const InterruptController = s.object('InterruptController', "ARM's interrupt controller", {
  version: s.choice('version', ['2', '3', 'host'], { xml: '@version', optional: true }),
  unknown,
})

export const Features = s.object(
  'Features',
  'Features of the machine',
  {
    acpi: s.boolean('power management tables', { xml: 'acpi', as: 'presence', default: false }),
    apic: s.boolean('interrupt controller', { xml: 'apic', as: 'presence', default: false }),
    pae: s.boolean('physical addresses of more than 32 bits', { xml: 'pae', as: 'presence', default: false }),
    hyperv: s.field(HyperV, { xml: 'hyperv', optional: true }),
    kvm: s.field(KvmFeatures, { xml: 'kvm', optional: true }),
    pvspinlock: state('paravirtual spinlocks', 'pvspinlock'),
    pmu: state('performance counters', 'pmu'),
    vmport: state("VMware's port for the mouse", 'vmport'),
    gic: s.field(InterruptController, { xml: 'gic', optional: true }),
    smm: state('system management mode', 'smm'),
    tsegKiB: s.size('memory of system management mode', {
      xml: 'smm/tseg',
      unit: 'KiB',
      largestUnit: true,
      optional: true,
      min: 1024,
      max: 65_536,
    }),
    ioapic: s.choice('who serves the I/O interrupt controller', ['kvm', 'qemu'], {
      xml: 'ioapic/@driver',
      optional: true,
    }),
    hptResizing: s.choice('resizing of the page table (POWER)', ['enabled', 'disabled', 'required'], {
      xml: 'hpt/@resizing',
      optional: true,
    }),
    vmcoreinfo: state('notes for crash dumps', 'vmcoreinfo'),
    msrs: s.choice('fate of unknown model specific registers', ['ignore', 'fault'], {
      xml: 'msrs/@unknown',
      optional: true,
    }),
    tbCacheKiB: s.size('memory for translated code (TCG)', {
      xml: 'tcg/tb-cache',
      unit: 'KiB',
      optional: true,
      min: 1024,
      max: 2 ** 31,
    }),
    unknown,
  },
  {
    order: {
      '.': words(
        'acpi apic pae hap viridian privnet hyperv kvm pvspinlock capabilities pmu vmport gic smm ioapic hpt',
        'vmcoreinfo htm nested-hv msrs ccf-assist xen cfpc sbbc ibs tcg async-teardown',
      ),
    },
  },
)

export type Features = s.Output<typeof Features>
export type HyperV = s.Output<typeof HyperV>
