import type { ByteStream } from '../../driver/index.ts'
import {
  type Domain,
  type DomainDefinition,
  type DomainState,
  type DomainStateReason,
  type DomainStats,
  VisorError,
} from '../../model/index.ts'
import { serialPortNames } from './definition.ts'
import { type SerialPort, serialPort } from './serial-port.ts'
import { type Shell, shell } from './shell.ts'
import { usageAfter } from './usage.ts'

/** What a saved state holds. */
export interface SavedState {
  readonly definition: DomainDefinition & { readonly uuid: string }
  readonly paused: boolean
  readonly runMs: number
  readonly printed: string
}

/** The machine of a running guest. */
interface Machine {
  readonly definition: DomainDefinition & { readonly uuid: string }
  readonly id: number
  readonly startedAt: string
  /** Running time up to the last change of state, and when it goes on since. */
  runMs: number
  since: number
  /** Typed while the processors stood still. */
  typed: Uint8Array[]
}

let lastId = 0

/**
 * A guest, which exists only as its state:
 *
 *                .--------- boot ---------.
 *                |                        v      suspend
 *             shutoff <-- power off -- running <---------> paused
 *                ^         destroy        |      resume      |
 *                |         save           | crash            |
 *                |                        v                  |
 *                '------- destroy ----- crashed              |
 *                '---------------- destroy, save ------------'
 *
 * What follows a power-off, reboot or crash is up to its definition. Methods assume that the caller checked
 * the state; each emits its events.
 */
export class Guest {
  readonly uuid: string
  state: DomainState = 'shutoff'
  reason: DomainStateReason = 'unknown'
  message: string | undefined
  saved: SavedState | undefined
  private machine: Machine | undefined
  private readonly ports: { port: SerialPort; shell: Shell }[] = []
  /** Told what happens to it, by the words of `domainEventTypes`. */
  emit: (type: string, reason: string) => void = () => {}

  constructor(uuid: string) {
    this.uuid = uuid
  }

  /** What it runs with; undefined when it does not run. */
  get definition(): (DomainDefinition & { readonly uuid: string }) | undefined {
    return this.machine?.definition
  }

  get active(): boolean {
    return this.machine !== undefined
  }

  /** Starts anew, or goes on from `from`. */
  boot(
    definition: Machine['definition'],
    { paused = false, from }: { paused?: boolean; from?: SavedState } = {},
  ): void {
    this.machine = {
      definition,
      id: ++lastId,
      startedAt: new Date().toISOString(),
      runMs: from?.runMs ?? 0,
      since: performance.now(),
      typed: [],
    }
    this.message = undefined
    if (from) this.ports[0] = this.makePort(Buffer.from(from.printed))
    else this.port(0).shell.boot()
    const reason = from ? 'restored' : 'booted'
    this.become('running', reason)
    this.emit('started', reason)
    if (paused) this.suspend('starting')
  }

  suspend(reason: DomainStateReason = 'user'): void {
    this.become('paused', reason)
    this.emit('suspended', reason)
  }

  resume(): void {
    this.become('running', 'resumed')
    this.emit('resumed', 'user')
    for (const bytes of this.machine?.typed.splice(0) ?? []) this.port(0).shell.type(bytes)
  }

  /** The machine goes away. */
  stop(reason: DomainStateReason): void {
    this.machine = undefined
    this.become('shutoff', reason)
    for (const entry of this.ports) entry?.port.hangUp()
    this.emit('stopped', reason)
  }

  /** The guest notices a button some time later, if it runs then. */
  later(action: () => void): void {
    const machine = this.machine
    setImmediate(() => {
      if (this.machine === machine && this.state === 'running') action()
    })
  }

  /** The guest switches itself off. */
  powerOff(): void {
    this.emit('stopping', 'shutdown')
    if (this.machine?.definition.onPoweroff === 'restart') this.restart()
    else this.stop('shutdown')
  }

  /** The guest reboots itself. */
  reboot(): void {
    if (this.machine?.definition.onReboot === 'destroy') this.stop('shutdown')
    else this.restart()
  }

  /** Back to the beginning, in the same machine. */
  restart(): void {
    this.emit('rebooted', 'user')
    this.port(0).shell.boot()
  }

  /** The guest falls over. */
  crash(): void {
    const action = this.machine?.definition.onCrash
    this.message = 'The guest crashed.'
    this.become('crashed', 'crashed')
    this.emit('crashed', 'crashed')
    if (action === 'destroy') this.stop('crashed')
    else if (action === 'restart') {
      this.become('running', 'booted')
      this.restart()
    }
  }

  /** All there is to it, for {@link boot} with `from`. */
  capture(): SavedState {
    const machine = this.present()
    const printed = Buffer.from(this.port(0).port.log()).toString('utf8')
    return { definition: machine.definition, paused: this.state === 'paused', runMs: this.runMs(), printed }
  }

  open(device: string | undefined, scrollback: boolean): ByteStream {
    const index = this.findPort(this.present().definition, device)
    const { port, shell } = this.port(index)
    return port.open(scrollback, (bytes) => {
      if (this.state === 'running') shell.type(bytes)
      else if (this.machine && this.machine.typed.length < 1024) this.machine.typed.push(bytes)
    })
  }

  log(definition: DomainDefinition, device: string | undefined, maxBytes?: number): Uint8Array {
    return this.ports[this.findPort(definition, device)]?.port.log(maxBytes) ?? new Uint8Array()
  }

  /** The guest prints this on its first serial port. */
  print(text: string): void {
    this.port(0).port.print(text)
  }

  hangUp(): void {
    for (const entry of this.ports) entry?.port.hangUp()
  }

  describe(definition: DomainDefinition & { uuid: string }, autostart: boolean): Domain {
    const current = this.machine?.definition ?? definition
    return {
      uuid: this.uuid,
      name: definition.name,
      driver: 'test',
      type: current.type,
      ...(this.machine ? { id: this.machine.id, startedAt: this.machine.startedAt } : {}),
      state: this.state,
      reason: this.reason,
      ...(this.message === undefined ? {} : { message: this.message }),
      persistent: true,
      autostart,
      saved: this.saved !== undefined,
      ...(current.title === undefined ? {} : { title: current.title }),
      vcpus: current.currentVcpus ?? current.vcpus,
      memoryKiB: current.currentMemoryKiB ?? current.memoryKiB,
      maxMemoryKiB: current.memoryKiB,
    }
  }

  stats(name: string): DomainStats {
    const { uuid, state, machine } = this
    if (!machine) return { uuid, name, state, vcpus: [], blocks: [], interfaces: [] }
    return { uuid, name, state, ...usageAfter(machine.definition, this.runMs()) }
  }

  private become(state: DomainState, reason: DomainStateReason): void {
    if (this.machine) {
      this.machine.runMs = this.runMs()
      this.machine.since = performance.now()
    }
    this.state = state
    this.reason = reason
  }

  private runMs(): number {
    const machine = this.present()
    return machine.runMs + (this.state === 'running' ? performance.now() - machine.since : 0)
  }

  private present(): Machine {
    if (!this.machine) throw new VisorError('internal', `The guest ${this.uuid} has no machine.`)
    return this.machine
  }

  private findPort(definition: DomainDefinition, device: string | undefined): number {
    if (device === undefined) return 0
    const names = serialPortNames(definition)
    const index = names.findIndex((list) => list.includes(device))
    if (index >= 0) return index
    throw new VisorError('invalid-argument', `The domain '${definition.name}' has no console '${device}'.`, {
      remedy: `It has ${names.map(([name]) => name).join(', ')}.`,
    })
  }

  private port(index: number): { port: SerialPort; shell: Shell } {
    this.ports[index] ??= this.makePort()
    return this.ports[index]
  }

  private makePort(printed?: Uint8Array): { port: SerialPort; shell: Shell } {
    const port = serialPort(printed)
    const guest = this
    return {
      port,
      shell: shell({
        uuid: guest.uuid,
        get name() {
          return guest.machine?.definition.name ?? ''
        },
        uptimeSeconds: () => guest.runMs() / 1000,
        print: (text) => port.print(text),
        powerOff: () => guest.later(() => guest.powerOff()),
        reboot: () => guest.later(() => guest.reboot()),
        crash: () => guest.later(() => guest.crash()),
      }),
    }
  }
}
