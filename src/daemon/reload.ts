/** What visord does when it is told to read its configuration again. */
import { isDeepStrictEqual } from 'node:util'
import { toVisorError } from '../model/index.ts'
import type { Daemon } from './daemon.ts'
import type { Flags } from './flags.ts'
import type { DaemonLog } from './log.ts'
import { findSettings, type Settings } from './settings.ts'

/** What changes at once; all else waits for the next start. */
const live: readonly string[] = ['logLevel', 'socketAccess']

/**
 * Reads the configuration and the token again and goes by what can change while visord runs. What else differs
 * from `started` is named in the log. A configuration that is wrong changes nothing.
 */
export function reload(
  daemon: Daemon,
  { flags, started, log }: { readonly flags: Flags; readonly started: Settings; readonly log: DaemonLog },
): void {
  try {
    const { config } = findSettings(flags)
    daemon.reload(config)
    log.setLevel(config.logLevel)
    const before: Readonly<Record<string, unknown>> = started.config
    const waiting = Object.entries({ ...before, ...config })
      .filter(([key]) => !live.includes(key))
      .filter(([key]) => !isDeepStrictEqual(before[key], (config as typeof before)[key]))
      .map(([key]) => key)
    log.info(
      { logLevel: config.logLevel, ...(waiting.length > 0 && { untilRestart: waiting }) },
      'configuration read again',
    )
  } catch (cause) {
    const error = toVisorError(cause)
    log.error({ error }, `The configuration stays as it was: ${error.message}`)
  }
}
