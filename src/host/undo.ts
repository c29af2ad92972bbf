/**
 * Undo as you go: a change that can half-happen pushes how to take each step back, and a failure unwinds
 * them, last first.
 */
export interface Undo {
  /** How to take back what was just done. */
  push(step: () => unknown): void
  /** All went well: forget the steps. */
  keep(): void
}

/**
 * Runs `change`; when it fails, unwinds what it pushed and fails with the same error. Failures while
 * unwinding are handed to `onLeftover`, and the unwinding goes on.
 */
export async function withUndo<T>(
  change: (undo: Undo) => Promise<T>,
  onLeftover: (error: unknown) => void = () => {},
): Promise<T> {
  const steps: (() => unknown)[] = []
  try {
    return await change({ push: (step) => void steps.push(step), keep: () => void steps.splice(0) })
  } catch (error) {
    for (const step of steps.reverse()) {
      try {
        await step()
      } catch (leftover) {
        onLeftover(leftover)
      }
    }
    throw error
  }
}
