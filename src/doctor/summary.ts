import type { ProbeResult } from '../model/index.ts'
import type { Subject } from './subject.ts'

const kinds: Readonly<Record<ProbeResult['kind'], string>> = {
  full: 'full virtualization',
  'hardware-assisted': 'hardware-assisted virtualization',
  paravirtualized: 'paravirtualization',
  'operating-system': 'operating-system level virtualization',
  emulation: 'emulation',
  none: 'no virtualization',
}
const hostings: Readonly<Record<ProbeResult['hosting'], string>> = {
  hosted: 'hosted by this system',
  'bare-metal': 'bare-metal, beneath this system',
  library: 'inside a process of visor',
  remote: 'on another host',
}

/** The kind of virtualization in words: `emulation, hosted by this system`. */
export function describeKind({ kind, hosting }: Pick<ProbeResult, 'kind' | 'hosting'>): string {
  return kind === 'none' ? kinds.none : `${kinds[kind]}, ${hostings[hosting]}`
}

/** What the host can do, a sentence or two for each driver that works, and what holds it back. */
export function summarize(drivers: readonly ProbeResult[], { environment }: Subject): string[] {
  const able = drivers.filter(({ available, kind }) => available && kind !== 'none')
  if (able.length === 0)
    return ['No guest can run here: none of the drivers works. Do what the first failed line says.']
  const sentences = able.map(
    (probe) => `${probe.driver}${probe.version ? ` ${probe.version}` : ''} works: ${describeKind(probe)}.`,
  )
  const qemu = able.find(({ driver }) => driver === 'qemu')
  if (qemu?.kind === 'emulation')
    sentences.push(
      environment.virtual
        ? 'Machines are emulated, which is correct but slow: this host is a virtual machine without usable KVM of its own.'
        : 'Machines are emulated, which is correct but slow: KVM cannot be used yet; the lines below say why.',
    )
  return sentences
}
