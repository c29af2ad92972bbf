/**
 * What `npm start` does once all is set up: visord runs, a first guest boots and shows its console, and both
 * stay until Ctrl-C.
 */
import { readFileSync } from 'node:fs'
import { connect } from '../connect/index.ts'
import type { Connection } from '../driver/index.ts'
import { dropQueries } from '../host/index.ts'
import { type Progress, toVisorError, VisorError } from '../model/index.ts'
import {
  chooseDriver,
  defineGuest,
  endGuest,
  findImage,
  guestName,
  removeEarlier,
  showUntilPrompt,
} from './first-guest.ts'
import { type Flags, help, parseFlags } from './flags.ts'
import { createPhases, type Phases } from './phases.ts'
import { findPlace } from './place.ts'
import { startVisord, type Visord } from './visord-process.ts'

/** Emulated by software on a busy machine, a boot can take this long. */
const bootMs = 300_000
const powerButtonMs = 5_000
/** One press of Ctrl-C may arrive twice: from the terminal and from npm. */
const samePressMs = 1_000

const write = (text: string) => void process.stdout.write(text)

/** Resolves to the exit code: 0 after Ctrl-C too, as that is how it ends. Never rejects. */
export async function main(args: readonly string[] = process.argv.slice(2)): Promise<number> {
  try {
    const flags = parseFlags(args)
    if (flags.help) write(help)
    else await run(flags, listenForStop())
    return 0
  } catch (cause) {
    const { code, message, remedy } = toVisorError(cause)
    if (code === 'cancelled') return 130
    process.stderr.write(`\n${message}\n${remedy ? `  ${remedy}\n` : ''}`)
    return 1
  }
}

async function run(flags: Flags, signal: AbortSignal): Promise<void> {
  const phases = createPhases(write)
  const place = findPlace(flags)
  const options = flags.listen === undefined ? [] : ['--listen', flags.listen]
  const visord = await phases.run('visord', () => startVisord(place, options))
  try {
    const connection = await connect(`unix://${visord.presence.socket}`, { signal })
    try {
      await boot(connection, flags, phases, signal)
      write(`\n\n${phases.summary()}\n`)
      if (!flags.once) {
        write(addresses(visord))
        await stay(visord, signal)
      }
    } finally {
      await endGuest(connection, powerButtonMs).catch(() => {})
      await connection.close()
    }
  } finally {
    await visord.stop()
  }
  write('Stopped: the guest is off and visord has ended.\n')
}

async function boot(
  connection: Connection,
  flags: Flags,
  phases: Phases,
  signal: AbortSignal,
): Promise<void> {
  const choice = chooseDriver(await connection.host.capabilities(), flags.driver)
  const image = await phases.run('guest image', async (tell) => {
    const told = new Set<string>()
    const progress = ({ phase }: Progress) => {
      if (phase && !told.has(phase)) write(`    ${phase}\n`)
      if (phase) told.add(phase)
    }
    const found = await findImage(connection, choice.driver, { progress, signal })
    tell(
      `${found.name} ${found.arch}, ${(found.sizeBytes / 1e6).toFixed(1)} MB${told.size > 0 ? '' : ', cached'}`,
    )
    return found
  })
  await phases.run('define and start', async (tell) => {
    await removeEarlier(connection, choice)
    await connection.domains.define?.(defineGuest(choice, image), { signal })
    await connection.domains.start?.(guestName, { signal, discardSaved: true })
    tell(choice.remark)
  })
  await phases.run('boot to the shell', async () => {
    const stream = await connection.domains.openConsole?.(guestName, { scrollback: true })
    if (!stream) throw new VisorError('unsupported', `${choice.driver} has no console to show.`)
    const stopWaiting = tellWaiting()
    // What the terminal answered would be typed into the user's shell.
    const filter = dropQueries()
    const show = (bytes: Uint8Array) => {
      stopWaiting()
      process.stdout.write(filter(bytes))
    }
    await showUntilPrompt(stream, show, { signal, timeoutMs: bootMs }).finally(stopWaiting)
    write('\n')
  })
}

/** A quiet kernel says nothing for a while: shows that time passes until the returned function is called. */
function tellWaiting(): () => void {
  const started = performance.now()
  write('    its kernel boots quietly ...\n')
  if (!process.stdout.isTTY) return () => {}
  const timer = setInterval(() => write(`\r    ${Math.round((performance.now() - started) / 1000)} s `), 1000)
  let waiting = true
  return () => {
    clearInterval(timer)
    if (waiting) write('\r\x1b[K')
    waiting = false
  }
}

function addresses({ presence }: Visord): string {
  const { socket, url, tokenFile } = presence
  const visor = './bin/visor.js --connect'
  const over = url
    ? `  web page      ${url}/#token=${readFileSync(tokenFile, 'utf8').trim()}
  REST          ${url}/v1   (documents: ${url}/docs)
                curl -H "Authorization: Bearer $(cat ${tokenFile})" ${url}/v1/domains
`
    : ''
  return `The guest '${guestName}' runs, and visord serves it:

${over}  REST, local   curl --unix-socket ${socket} http://localhost/v1/domains
  command line  ${visor} unix://${socket} list
                ${visor} unix://${socket} console ${guestName}

Ctrl-C stops the guest and visord.
`
}

/** Until Ctrl-C; fails with `failed` when visord ends by itself. */
async function stay(visord: Visord, signal: AbortSignal): Promise<void> {
  const stopped = new Promise<'stopped'>((resolve) => {
    if (signal.aborted) resolve('stopped')
    signal.addEventListener('abort', () => resolve('stopped'), { once: true })
  })
  // Waiting for a process that is not referenced would let ours end.
  const keepAlive = setInterval(() => {}, 2 ** 30)
  const first = await Promise.race([stopped, visord.ended])
  clearInterval(keepAlive)
  if (first !== 'stopped') throw new VisorError('failed', 'visord has ended.', { remedy: 'See its log.' })
  write('\nStopping ...\n')
}

/** Aborts at Ctrl-C; a second press, well after the first, ends at once. */
function listenForStop(): AbortSignal {
  const stop = new AbortController()
  let pressedAt = 0
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      if (stop.signal.aborted && performance.now() - pressedAt > samePressMs) process.exit(130)
      if (!stop.signal.aborted) pressedAt = performance.now()
      stop.abort()
    })
  return stop.signal
}

if (import.meta.main) process.exit(await main())
