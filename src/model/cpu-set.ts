/** Sets of numbered things, as libvirt and the kernel write them: `0-3,8`, with `^2` taking one out again. */

/** What a set looks like. */
export const aCpuSet = {
  maxLength: 4096,
  pattern: /^\^?\d{1,4}(?:-\d{1,4})?(?:,\^?\d{1,4}(?:-\d{1,4})?)*$/u,
  patternName: "numbers such as '0-3,8', or '0-3,^2' without the 2",
} as const

/** The members in order, each once. A range that runs backwards has none. */
export function parseCpuSet(text: string): number[] {
  const members = new Set<number>()
  for (const part of text.split(',')) {
    const out = part.startsWith('^')
    const [first = 0, last = first] = part.replace('^', '').split('-').map(Number)
    for (let one = first; one <= last; one++)
      if (out) members.delete(one)
      else members.add(one)
  }
  return [...members].sort((a, b) => a - b)
}

/** The set as the kernel prints it: `0-3,8`. */
export function formatCpuSet(members: readonly number[]): string {
  const runs: [number, number][] = []
  for (const one of [...new Set(members)].sort((a, b) => a - b)) {
    const last = runs.at(-1)
    if (last && last[1] === one - 1) last[1] = one
    else runs.push([one, one])
  }
  return runs.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',')
}
