import { Check, ProbeResult, schema as s } from '../model/index.ts'

const CheckGroup = s.object('CheckGroup', 'Checks that belong together', {
  id: s.string('short name, stable: kernel'),
  title: s.string('what they are about'),
  checks: s.array('in the order in which they are read', Check),
})

export const Diagnosis = s.object('Diagnosis', 'What this host can do, and what to change', {
  status: s.choice('the worst outcome of all checks', ['pass', 'warn', 'fail']),
  summary: s.array('what the host can do, in words', s.string('a sentence')),
  host: s.object('DiagnosedHost', 'The host that was looked at', {
    hostname: s.string('name'),
    system: s.string('operating system'),
    kernel: s.string('kernel release'),
    arch: s.string('architecture'),
    cpuModel: s.string('name of the processor', { optional: true }),
    cpus: s.integer('processors'),
    memoryKiB: s.integer('memory'),
    environment: s.string('what the host itself is: a physical machine, a virtual machine under KVM, ...'),
  }),
  drivers: s.array('what each driver says', ProbeResult),
  groups: s.array('everything else', CheckGroup),
  elapsedMs: s.integer('how long it took, milliseconds'),
})
export type Diagnosis = s.Output<typeof Diagnosis>
export type CheckGroup = s.Output<typeof CheckGroup>
