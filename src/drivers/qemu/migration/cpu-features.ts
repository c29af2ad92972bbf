/**
 * Features of a processor as the guest sees them. QEMU leaves out, with no more than a warning, what its host does not
 * have; a guest that has seen a feature and loses it fails later, so both ends are compared before anything moves.
 * Names: Intel's "Software Developer's Manual", CPUID, and AMD's "CPUID Specification", as QEMU spells them.
 */
import { VisorError } from '../../../model/index.ts'
import type { Machine } from '../machine/machine.ts'
import { isRecord } from '../qmp/index.ts'

/** Words of CPUID: `LEAF:SUBLEAF:REGISTER=BITS`, numbers in hexadecimal. Empty for processors without CPUID. */
export async function readCpuFeatures({ monitor }: Machine): Promise<string[]> {
  const processors = await monitor.execute('query-cpus-fast')
  const first = Array.isArray(processors) ? processors.find(isRecord) : undefined
  const path = first?.['qom-path']
  if (typeof path !== 'string') return []
  const words = await monitor.execute('qom-get', { path, property: 'feature-words' }).catch(() => [])
  return (Array.isArray(words) ? words.filter(isRecord) : []).map((word) => {
    const hexadecimal = (name: string) => Number(word[name] ?? 0).toString(16)
    const where = `${hexadecimal('cpuid-input-eax')}:${hexadecimal('cpuid-input-ecx')}`
    return `${where}:${String(word['cpuid-register'])}=${hexadecimal('features')}`
  })
}

/** Names of what is in `wanted` and not in `present`. */
export function missingFeatures(wanted: readonly string[], present: readonly string[]): string[] {
  const bits = new Map(present.map((word) => word.split('=') as [string, string]))
  return wanted.flatMap((word) => {
    const [where = '', value = '0'] = word.split('=')
    const lost = BigInt(`0x${value}`) & ~BigInt(`0x${bits.get(where) ?? '0'}`)
    return Array.from({ length: 32 }, (_, bit) => bit)
      .filter((bit) => (lost >> BigInt(bit)) & 1n)
      .map((bit) => nameOf(where, bit))
  })
}

/** Fails with `unsupported-config` when the processors of `machine` lack some of `wanted`. */
export async function checkCpuFeatures(machine: Machine, wanted: readonly string[]): Promise<void> {
  if (wanted.length === 0) return
  const missing = missingFeatures(wanted, await readCpuFeatures(machine))
  if (missing.length === 0) return
  const { name } = machine.details.definition
  throw new VisorError(
    'unsupported-config',
    `The destination has no ${missing.join(', ')}, which the guest of domain '${name}' sees.`,
    {
      path: 'cpu',
      remedy:
        'Move it to a host that has; or start it anew with a processor model that both hosts have (cpu), or without these features (policy disable).',
    },
  )
}

/** From bit 0 on; `-` has no name. */
const names: Readonly<Record<string, string>> = {
  '1:0:EDX':
    'fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - ds acpi mmx fxsr sse sse2 ss ht tm ia64 pbe',
  '1:0:ECX':
    'pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid - fma cx16 xtpr pdcm - pcid dca sse4.1 sse4.2 x2apic movbe popcnt tsc-deadline aes xsave osxsave avx f16c rdrand hypervisor',
  '7:0:EBX':
    'fsgsbase tsc-adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm - - mpx - avx512f avx512dq rdseed adx smap avx512ifma - clflushopt clwb intel-pt avx512pf avx512er avx512cd sha-ni avx512bw avx512vl',
  '7:0:ECX':
    '- avx512vbmi umip pku ospke waitpkg avx512vbmi2 - gfni vaes vpclmulqdq avx512vnni avx512bitalg - avx512-vpopcntdq - la57 - - - - - rdpid - bus-lock-detect cldemote - movdiri movdir64b - sgxlc pks',
  '80000001:0:EDX':
    '- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr-opt pdpe1gb rdtscp - lm 3dnowext 3dnow',
  '80000001:0:ECX':
    'lahf-lm cmp-legacy svm extapic cr8legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp fma4 tce - nodeid-msr - tbm topoext perfctr-core perfctr-nb - - - - - - -',
}

function nameOf(where: string, bit: number): string {
  const name = names[where]?.split(' ')[bit]
  if (name !== undefined && name !== '-') return name
  const [leaf, subleaf, register] = where.split(':')
  return `CPUID 0x${leaf}.${subleaf} ${register} bit ${bit}`
}
