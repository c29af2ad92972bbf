/** Starts the domains marked for it: once per boot of the host, not at every start of visord. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Connection, Log } from '../driver/index.ts'

/** Guests booting at once: more would only make each slower. */
const atOnce = 2

export interface AutostartOptions {
  readonly connection: Connection
  readonly runtimeDirectory: string
  readonly log: Log
  readonly signal: AbortSignal
  /** Which boot this is; the kernel's word without it. */
  readonly bootId?: string
}

/**
 * Starts what is marked and does not run. A domain that cannot start is logged, and the others go on.
 * Resolves when all were tried; a boot that was seen before starts nothing.
 */
export async function autostart(options: AutostartOptions): Promise<void> {
  const { connection, runtimeDirectory, log, signal, bootId = readBootId() } = options
  const marker = join(runtimeDirectory, 'autostarted')
  if (readOrNothing(marker) === bootId) return
  const domains = await connection.domains.list({ states: ['shutoff', 'crashed'] })
  const waiting = domains.filter((domain) => domain.autostart)
  // Before they start: a visord that dies meanwhile must not start again what its user has just stopped.
  writeFileSync(marker, bootId, { mode: 0o600 })
  const worker = async () => {
    for (let next = waiting.shift(); next && !signal.aborted; next = waiting.shift()) {
      const { uuid, name } = next
      try {
        await connection.domains.start?.(uuid, { signal })
        log.info({ domain: name, uuid }, 'Started with the host.')
      } catch (error) {
        log.error({ domain: name, uuid, error }, `The domain '${name}' did not start with the host.`)
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

/** A new one for each boot (random(4), boot_id). */
function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
}

function readOrNothing(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
