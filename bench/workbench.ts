import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Workbench } from './harness.ts'

/** Does `work` at a bench of its own, and clears it afterwards. */
export async function atWorkbench<T>(
  work: (bench: Workbench) => Promise<T>,
): Promise<{ result: T; notes: string[] }> {
  const directory = await mkdtemp(join(tmpdir(), 'visor-bench-'))
  const steps: (() => unknown)[] = []
  const notes: string[] = []
  try {
    const bench = {
      directory,
      defer: (step: () => unknown) => void steps.push(step),
      note: (text: string) => void notes.push(text),
    }
    return { result: await work(bench), notes }
  } finally {
    for (const step of steps.reverse())
      await Promise.resolve()
        .then(step)
        .catch((error) => console.error(`bench: not everything could be put away: ${error}`))
    await rm(directory, { recursive: true, force: true })
  }
}
