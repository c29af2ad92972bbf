import { type ConsoleLog, type GuestProcess, openConsoleLog } from '../../host/index.ts'
import type { Domain, DomainState, DomainStateReason } from '../../model/index.ts'
import type { Control } from './control.ts'
import { serialPortNames } from './definition.ts'
import type { GuestFiles } from './guest-files.ts'
import { describeDeath, type GuestDetails, type Launched, readEnd } from './launch.ts'
import type { MachineEvent } from './protocol.ts'

/** The machine of a guest that runs. */
export interface Running {
  readonly process: GuestProcess
  readonly control: Control
  readonly details: GuestDetails
  readonly consoles: readonly ConsoleLog[]
  /** Resolves when it is gone and nothing is left of it. */
  readonly gone: Promise<void>
}

/**
 * What is known about a guest. Its state follows what its machine tells:
 *
 *              ready            suspended
 *   shutoff ----------> running ---------> paused
 *      ^                  |    <---------    |
 *      |                  |     resumed      |
 *      '------------------+------------------'
 *            the process has ended: powered off, saved, destroyed, crashed
 */
export class Guest {
  readonly uuid: string
  state: DomainState = 'shutoff'
  reason: DomainStateReason = 'unknown'
  message: string | undefined
  /** Whether visor keeps a state of it. */
  saved = false
  running: Running | undefined
  /** It is being killed on purpose. */
  destroyed = false
  private readonly files: GuestFiles
  private readonly tell: (type: string, reason: string) => void
  private readonly leaveNetworks: () => Promise<void>

  constructor(
    uuid: string,
    files: GuestFiles,
    tell: (type: string, reason: string) => void,
    leaveNetworks: () => Promise<void>,
  ) {
    this.uuid = uuid
    this.files = files
    this.tell = tell
    this.leaveNetworks = leaveNetworks
  }

  /** Its machine runs from now on. */
  attach(
    { process, control }: Launched,
    details: GuestDetails,
    state: DomainState,
    reason: DomainStateReason,
  ): void {
    const ports = serialPortNames(details.definition)
    const consoles = ports.map((_, port) => openConsoleLog(this.files.console(this.uuid, port)))
    this.destroyed = false
    this.state = state
    this.reason = reason
    this.message = undefined
    const gone = process.exited.then(() => this.leave(process))
    this.running = { process, control, details, consoles, gone }
  }

  /** A machine that was just started. */
  begin(launched: Launched, details: GuestDetails, how: { restored: boolean; paused: boolean }): void {
    const reason = how.restored ? 'restored' : 'booted'
    this.attach(launched, details, 'running', reason)
    this.tell('started', reason)
    if (!how.paused) return
    this.state = 'paused'
    this.reason = 'starting'
    this.tell('suspended', 'starting')
  }

  /** The machine told something by itself. */
  hear({ event }: MachineEvent): void {
    if (event === 'suspended') this.become('paused', 'user', 'suspended')
    else if (event === 'resumed') this.become('running', 'resumed', 'resumed')
    else if (event === 'rebooted') this.tell('rebooted', 'guest')
  }

  /** Lets go of the machine, which goes on. */
  async detach(): Promise<void> {
    this.running?.control.close()
    for (const log of this.running?.consoles ?? []) log.end()
    await this.running?.process.forget()
  }

  describe(
    name: string,
    title: string | undefined,
    vcpus: number,
    memoryKiB: number,
  ): Omit<Domain, 'persistent' | 'autostart'> {
    const { running } = this
    return {
      uuid: this.uuid,
      name,
      driver: 'v86',
      type: 'v86',
      ...(running && { id: running.details.id }),
      state: this.state,
      reason: this.reason,
      ...(this.message === undefined ? {} : { message: this.message }),
      saved: this.saved,
      ...(title === undefined ? {} : { title }),
      vcpus,
      memoryKiB,
      maxMemoryKiB: memoryKiB,
      ...(running && { startedAt: running.details.startedAt, pid: running.process.identity.pid }),
    }
  }

  private become(state: DomainState, reason: DomainStateReason, type: string): void {
    this.state = state
    this.reason = reason
    this.tell(type, 'user')
  }

  /** The process has ended: what is left of it goes, then everybody is told. */
  private async leave(process: GuestProcess): Promise<void> {
    const end = await readEnd(process.directory)
    const death = end?.message ?? (end || this.destroyed ? undefined : await describeDeath(process.directory))
    const { running } = this
    running?.control.close()
    await process.release()
    await this.leaveNetworks()
    for (const log of running?.consoles ?? []) log.end()
    this.running = undefined
    this.state = 'shutoff'
    this.reason = end && end.reason !== 'failed' ? end.reason : this.destroyed ? 'destroyed' : 'crashed'
    if (this.reason === 'crashed') this.message = death
    if (this.reason === 'saved') this.tell('saved', 'user')
    if (this.reason === 'crashed') this.tell('crashed', 'crashed')
    this.tell('stopped', this.reason)
  }
}
