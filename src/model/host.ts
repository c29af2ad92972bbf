/** The host and what its drivers can do. */
import * as s from './schema.ts'

export const virtualizationKinds = [
  'full',
  'hardware-assisted',
  'paravirtualized',
  'operating-system',
  'emulation',
  'none',
] as const

export const HostInfo = s.object('HostInfo', 'The machine that runs the guests', {
  hostname: s.string('name'),
  arch: s.string('architecture, as uname has it'),
  cpus: s.integer('processors'),
  cpuModel: s.string('name of the processor', { optional: true }),
  memoryKiB: s.integer('memory'),
  freeMemoryKiB: s.integer('memory available'),
  kernel: s.string('kernel release'),
  visor: s.string('version of visor'),
})
export type HostInfo = s.Output<typeof HostInfo>

export const Capabilities = s.object('Capabilities', 'What one driver can do on this host', {
  driver: s.string('scheme'),
  version: s.string('version of the hypervisor', { optional: true }),
  kind: s.choice('kind of virtualization', virtualizationKinds),
  hosting: s.choice('what the hypervisor runs on', ['hosted', 'bare-metal', 'library', 'remote']),
  guests: s.array(
    'machines it can run',
    s.object('GuestCapability', 'A kind of machine', {
      arch: s.string('architecture'),
      osType: s.string('kind of guest: hvm, exe'),
      domainTypes: s.array('types a definition may have, best first', s.string('type')),
      emulator: s.string('program', { optional: true }),
      machines: s.array('machine types', s.string('name')),
      defaultMachine: s.string('machine type when none is named', { optional: true }),
      cpuModels: s.array('processor models', s.string('name')),
    }),
  ),
  notes: s.array('what a person should know: why hardware help is not used, ...', s.string('a sentence')),
})
export type Capabilities = s.Output<typeof Capabilities>

export const Check = s.object('Check', 'One thing looked at', {
  id: s.string('short name, stable: kvm-device'),
  title: s.string('what it is'),
  status: s.choice('outcome', ['pass', 'warn', 'fail', 'info']),
  detail: s.string('what was seen, and why it matters'),
  remedy: s.string('what to do, exactly', { optional: true }),
})
export type Check = s.Output<typeof Check>

export const ProbeResult = s.object('ProbeResult', 'Whether a driver can run here', {
  driver: s.string('scheme'),
  available: s.boolean('whether it can'),
  version: s.string('version of the hypervisor', { optional: true }),
  kind: s.choice('kind of virtualization', virtualizationKinds),
  hosting: s.choice('what the hypervisor runs on', ['hosted', 'bare-metal', 'library', 'remote']),
  checks: s.array('what was looked at', Check),
})
export type ProbeResult = s.Output<typeof ProbeResult>
