/** Limits that a process gets from the one that starts it (getrlimit(2)). */
import { VisorError } from '../model/index.ts'
import { loadCalls } from './syscall.ts'

export interface ProcessLimits {
  /** The largest core file, bytes. */
  readonly coreBytes?: number
  /** Memory it may lock, bytes; Infinity for all. */
  readonly lockedBytes?: number
  /** How many files it may have open. */
  readonly openFiles?: number
}

// From <asm-generic/resource.h>.
const RLIMIT_CORE = 4
const RLIMIT_NOFILE = 7
const RLIMIT_MEMLOCK = 8
const RLIM_INFINITY = 2n ** 64n - 1n

/**
 * Runs `start`, which must start its process at once, with these limits, and has its own back afterwards. A
 * limit that this process may not set is left as it is.
 */
export async function withLimits<T>(
  { coreBytes, lockedBytes, openFiles }: ProcessLimits,
  start: () => T,
): Promise<T> {
  const { getrlimit, setrlimit } = await loadCalls()
  const before: [number, BigUint64Array][] = []
  const limit = (resource: number, bytes: number | undefined) => {
    if (bytes === undefined) return
    const limits = new BigUint64Array(2)
    if (getrlimit(resource, limits) !== 0) return
    const [soft = 0n, hard = 0n] = limits
    const wanted = bytes === Number.POSITIVE_INFINITY ? RLIM_INFINITY : BigInt(bytes)
    // What is raised can be put back; a hard limit that is lowered cannot, so it stays.
    const next = BigUint64Array.of(wanted, wanted > hard ? wanted : hard)
    if (wanted === soft) return
    if (setrlimit(resource, next) === 0) before.push([resource, limits])
  }
  limit(RLIMIT_CORE, coreBytes)
  limit(RLIMIT_MEMLOCK, lockedBytes)
  limit(RLIMIT_NOFILE, openFiles)
  try {
    return start()
  } finally {
    for (const [resource, limits] of before) setrlimit(resource, limits)
  }
}

/** Lets a process that runs lock all memory (prlimit(2)). Resolves with what takes that back. Fails with `denied`. */
export async function liftMemoryLock(pid: number): Promise<() => void> {
  const { prlimit } = await loadCalls()
  const before = new BigUint64Array(2)
  if (prlimit(pid, RLIMIT_MEMLOCK, BigUint64Array.of(RLIM_INFINITY, RLIM_INFINITY), before) !== 0)
    throw new VisorError('denied', `The process ${pid} cannot be let lock memory.`, {
      remedy: "Run visord as root, or start the machine with 'memoryBacking: { locked: true }'.",
    })
  return () => void prlimit(pid, RLIMIT_MEMLOCK, before, new BigUint64Array(2))
}
