/** Edit distance of two words (insert, delete, replace, swap of neighbours), at most `limit` + 1. */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let best = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        best = Math.min(best, (before[j - 2] ?? 0) + 1)
      row.push(best)
    }
    before = last
    last = row
  }
  return last[b.length] ?? limit + 1
}

/** Whether one is the other with a word before or behind, as `virtio` is of `virtio-net`. */
function hasPart(word: string, candidate: string): boolean {
  const [short, long] = word.length < candidate.length ? [word, candidate] : [candidate, word]
  return (
    short.length > 2 &&
    (/^[-_.]/u.test(long.slice(short.length)) ? long.startsWith(short) : endsAt(long, short))
  )
}

const endsAt = (long: string, short: string): boolean =>
  long.endsWith(short) && /[-_.]$/u.test(long.slice(0, -short.length))

/** The word that was probably meant by `word`; undefined when none is near. */
export function suggest(word: string, known: readonly string[]): string | undefined {
  if (word.length > 64) return undefined
  const lower = word.toLowerCase()
  const limit = Math.max(1, Math.floor(word.length / 3))
  let best: string | undefined
  let bestDistance = limit + 1
  for (const candidate of known) {
    const d = distance(lower, candidate.toLowerCase(), limit)
    if (d < bestDistance) [best, bestDistance] = [candidate, d]
  }
  return best ?? known.find((candidate) => hasPart(lower, candidate.toLowerCase()))
}
