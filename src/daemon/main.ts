/** The program visord. */
import { setFlagsFromString } from 'node:v8'
import type { Log } from '../driver/index.ts'
import { toVisorError } from '../model/index.ts'
import type { Daemon } from './daemon.ts'
import { type Flags, help, parseFlags } from './flags.ts'
import { version } from './version.ts'

/**
 * Runs visord until it is told to stop. Resolves to the exit code: 0 after a stop in good order, 1 when it
 * could not start, 2 when a flag or the configuration is wrong. Never rejects.
 */
export async function main(args: readonly string[] = process.argv.slice(2)): Promise<number> {
  try {
    const flags = parseFlags(args)
    if (flags.action === 'help') process.stdout.write(help)
    if (flags.action === 'version') process.stdout.write(`visord ${version}\n`)
    return flags.action === 'help' || flags.action === 'version' ? 0 : await runWith(flags)
  } catch (error) {
    const { code, message, remedy } = toVisorError(error)
    process.stderr.write(`visord: ${message}\n${remedy ? `  ${remedy}\n` : ''}`)
    if (code === 'internal') console.error(error)
    return code === 'internal' ? 1 : 2
  }
}

async function runWith(flags: Flags): Promise<number> {
  // The young generation would grow to 32 MB and stay there; visord keeps little that is short-lived.
  setFlagsFromString('--semi-space-growth-factor=1')
  const [{ findSettings }, { openLog }, { startDaemon }, { reload }] = await Promise.all([
    import('./settings.ts'),
    import('./log.ts'),
    import('./daemon.ts'),
    import('./reload.ts'),
  ])
  const settings = findSettings(flags)
  const { config, directories } = settings
  if (flags.action === 'check-config') {
    process.stdout.write(
      `${directories.config}: right.\n${JSON.stringify({ directories, config }, null, 2)}\n`,
    )
    return 0
  }
  const format = config.logFormat ?? (process.stderr.isTTY ? 'pretty' : 'json')
  const log = openLog({ level: config.logLevel, format })
  let daemon: Daemon | undefined
  // A terminal that is gone ends what it started; a daemon has none, and there the signal has another meaning.
  const onHangup = process.stderr.isTTY
    ? undefined
    : () => daemon && reload(daemon, { flags, started: settings, log })
  const signals = listenForSignals(log, onHangup)
  watchFaults(log)
  try {
    daemon = await startDaemon(settings, log)
  } catch (cause) {
    const error = toVisorError(cause)
    log.error({ error }, `visord did not start: ${error.message}${error.remedy ? ` ${error.remedy}` : ''}`)
    return 1
  }
  await signals
  await daemon.stop()
  return 0
}

/** Resolves at the first signal to stop; a second one ends the process at once. SIGHUP is one without `onHangup`. */
function listenForSignals(log: Log, onHangup: (() => void) | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let stopping = false
  if (onHangup) process.on('SIGHUP', onHangup)
  for (const signal of ['SIGTERM', 'SIGINT', ...(onHangup ? [] : ['SIGHUP' as const])] as const)
    process.on(signal, () => {
      if (stopping) {
        log.warn({ signal }, 'Told to stop a second time: ending at once.')
        process.exit(1)
      }
      stopping = true
      log.info({ signal }, 'stopping')
      resolve()
    })
  return promise
}

/**
 * A promise that nobody waited for has failed one operation, and the daemon goes on. After an exception that
 * nobody caught nothing is certain: it ends, its guests go on, and the next start finds them.
 */
function watchFaults(log: Log): void {
  process.on('unhandledRejection', (error) => log.error({ error }, 'A failure was not handled.'))
  process.on('uncaughtException', (error) => {
    log.error({ error }, 'visord ends after an error that was not expected; its guests go on.')
    process.exit(70)
  })
}

if (import.meta.main) process.exit(await main())
