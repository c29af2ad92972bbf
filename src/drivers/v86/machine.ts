import { VisorError } from '../../model/index.ts'
import { openEmulator } from './emulator.ts'
import { guestClock } from './guest-clock.ts'
import type { MachineConfig } from './machine-config.ts'
import { connectCard } from './network-card.ts'
import type { Command, MachineEnd, MachineEvent, MachineStatus } from './protocol.ts'
import { type SavedHeader, writeState } from './saved-state.ts'
import { SerialLog } from './serial-log.ts'

export interface Machine {
  /** Does what it is told. Fails with a `VisorError`. */
  obey(command: Command): Promise<unknown>
}

export interface MachineOptions {
  /** Of v86, kept with saved states. */
  readonly version: string
  tell(event: MachineEvent): void
  /** The machine is gone for good; the process must follow. */
  end(end: MachineEnd): void
}

/** How many bytes a serial port takes at once, and how long it then rests: a UART has no more room. */
const typeBytes = 64
const typeRestMs = 2
const mostTyped = 2 ** 20

/**
 * Makes the machine of a configuration and starts it.
 *
 *            suspend             power off, save
 *   running ---------> paused -------------------> ended
 *      ^    <---------
 *      |     resume
 *      '-- reset, reboot: a new emulator in place of the old one
 *
 * A reset makes a new emulator since v86 loads a kernel and its initial RAM disk once only, and guests write
 * over them.
 */
export async function startMachine(config: MachineConfig, options: MachineOptions): Promise<Machine> {
  const { tell, version } = options
  const logs = config.serialLogs.map((path) => new SerialLog(path))
  const counters = { rxPackets: 0, rxBytes: 0, txPackets: 0, txBytes: 0 }
  const events = {
    sent: (packet: Uint8Array) => {
      counters.txPackets++
      counters.txBytes += packet.length
      cable?.send(packet)
    },
    print: (port: number, byte: number) => logs[port]?.put(byte),
    poweredOff: () => follow(restartNext ? 'restart' : config.onPoweroff),
    rebooted: () => follow(config.onReboot),
  }
  guestClock.stop()
  let emulator = await openEmulator(config, events, { restore: config.restore })
  const cable =
    config.card &&
    (await connectCard(config.card, (packet) => {
      counters.rxPackets++
      counters.rxBytes += packet.length
      emulator.receive(packet)
    }))
  let state: MachineStatus['state'] = 'paused'
  let ended = false
  /** What changes the machine happens one after the other. */
  let last: Promise<unknown> = Promise.resolve()
  /** Somebody asked for a reboot: the next power-off is the first half of it. */
  let restartNext = false
  const typed: Buffer[][] = logs.map(() => [])

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = last.then(work)
    last = turn.catch(() => {})
    return turn
  }

  /** The guest switched itself off or rebooted; it is in the middle of an instruction. */
  function follow(action: 'destroy' | 'restart'): void {
    const machine = emulator
    setImmediate(() =>
      inTurn(async () => {
        if (machine !== emulator || ended) return
        if (action === 'restart') await reset()
        else await end({ reason: 'shutdown' })
      }).catch((error: Error) => end({ reason: 'failed', message: error.message })),
    )
  }

  async function end(reason: MachineEnd): Promise<void> {
    if (ended) return
    ended = true
    await emulator.stop().catch(() => {})
    await cable?.close()
    for (const log of logs) log.close()
    options.end(reason)
  }

  async function reset(): Promise<void> {
    restartNext = false
    await emulator.close()
    emulator = await openEmulator(config, events)
    if (state === 'running') await emulator.run()
    tell({ event: 'rebooted' })
  }

  async function save(file: string, header: SavedHeader): Promise<void> {
    const before = state
    await emulator.stop()
    try {
      await writeState(file, { ...header, timeMs: guestClock.now(), version }, await emulator.saveState())
    } catch (error) {
      if (before === 'running') await emulator.run()
      throw error
    }
  }

  function type(port: number, bytes: Buffer): void {
    const queue = typed[port]
    if (!queue) throw new VisorError('invalid-argument', `There is no serial port ${port}.`)
    const waiting = queue.reduce((sum, part) => sum + part.length, 0)
    if (waiting + bytes.length > mostTyped)
      throw new VisorError('busy', 'The guest does not read what was typed into its serial port.')
    for (let at = 0; at < bytes.length; at += typeBytes) queue.push(bytes.subarray(at, at + typeBytes))
    if (waiting === 0) typeOn(port, queue)
  }

  function typeOn(port: number, queue: Buffer[]): void {
    const part = queue[0]
    if (!part || ended) return
    emulator.type(port, part)
    setTimeout(() => {
      queue.shift()
      typeOn(port, queue)
    }, typeRestMs)
  }

  const status = (): MachineStatus => ({
    state,
    ...(cable && { card: counters }),
    disks: Object.fromEntries([...emulator.disks].map(([slot, disk]) => [slot, disk.counters])),
  })

  async function change(to: MachineStatus['state']): Promise<void> {
    if (state === to) return
    await (to === 'running' ? emulator.run() : emulator.stop())
    state = to
    tell({ event: to === 'running' ? 'resumed' : 'suspended' })
  }

  if (!config.paused) {
    await emulator.run()
    state = 'running'
  }
  return {
    async obey(command) {
      if (ended) throw new VisorError('invalid-state', 'The machine has ended.')
      switch (command.do) {
        case 'status':
          return status()
        case 'suspend':
          return inTurn(() => change('paused'))
        case 'resume':
          return inTurn(() => change('running'))
        case 'reset':
          return inTurn(reset)
        case 'press-power-button':
          emulator.pressPowerButton()
          restartNext = command.restart ?? false
          return undefined
        case 'type':
          return type(command.port, Buffer.from(command.data, 'base64'))
        case 'read-screen':
          return emulator.readText()
        case 'take-picture':
          return emulator.takePicture().toString('base64')
        case 'save':
          await inTurn(() => save(command.file, JSON.parse(command.header) as SavedHeader))
          // The answer goes out before the machine does.
          setImmediate(() => void end({ reason: 'saved' }))
          return undefined
      }
    },
  }
}
