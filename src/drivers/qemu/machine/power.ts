/** Asks a guest to power off or to reboot: by its power button, by its agent. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Domains, ShutdownOptions } from '../../../driver/index.ts'
import { toVisorError, VisorError } from '../../../model/index.ts'
import { agentSocket, isAgentConnected, noAgent, talkToAgent } from '../agent/index.ts'
import type { Context } from '../context.ts'
import type { QmpEvent } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'
import { actionsOf } from './actions.ts'
import type { Machine } from './machine.ts'
import { fromStatus } from './machine-state.ts'

const agentTimeoutMs = 5_000
/** A process whose monitor broke is given so long to be gone. */
const goneMs = 5_000
/** In mode `auto` the agent is only one of two ways. */
const shortAgentTimeoutMs = 1_000

/** What the power button can be used for: only a running machine with ACPI has one. */
export function power(
  context: Context,
  registry: Registry,
): Required<Pick<Domains, 'shutdown' | 'reboot'>> & { watchReboot(machine: Machine): void } {
  async function shutdown(uuid: string, { mode = 'auto' }: ShutdownOptions = {}): Promise<void> {
    const machine = registry.running(uuid, ['running', 'pmsuspended'])
    await stopRebooting(machine)
    await ask(machine, mode, 'powerdown')
  }

  async function reboot(uuid: string, { mode = 'auto' }: ShutdownOptions = {}): Promise<void> {
    const machine = registry.running(uuid, ['running', 'pmsuspended'])
    const agent = agentSocket(context, machine)
    if (mode !== 'acpi' && agent) {
      const timeoutMs = mode === 'agent' ? agentTimeoutMs : shortAgentTimeoutMs
      const told = await tellAgent(machine, 'reboot', timeoutMs).then(
        () => true,
        (error: unknown) => {
          if (mode === 'agent') throw error
          return false
        },
      )
      if (told) return
    } else if (mode === 'agent') throw noAgent(machine)
    checkAcpi(machine)
    // ACPI has no button for it: the machine is kept when it is off, and started again.
    await machine.record({ rebooting: true })
    await machine.monitor.execute('set-action', { shutdown: 'pause' })
    watchReboot(machine)
    await machine.monitor.execute('system_powerdown')
  }

  async function ask(machine: Machine, mode: 'auto' | 'acpi' | 'agent', what: 'powerdown'): Promise<void> {
    const agent = agentSocket(context, machine)
    const { features } = machine.details.definition
    if (mode === 'agent') {
      if (!agent) throw noAgent(machine)
      return tellAgent(machine, what, agentTimeoutMs)
    }
    if (mode === 'acpi' || features.acpi) checkAcpi(machine)
    const isOff = features.acpi && (await pressButton(machine))
    if (mode === 'acpi' || isOff) return
    // Guests that ignore the button may listen to their agent; asked only when one is connected.
    if (agent && (await isAgentConnected(machine))) {
      const asked = tellAgent(machine, what, shortAgentTimeoutMs)
      if (features.acpi) await asked.catch(() => {})
      else await asked
    } else if (!features.acpi) checkAcpi(machine)
  }

  /** Resolves when the agent has been told; it does not answer to this. */
  function tellAgent(machine: Machine, mode: 'powerdown' | 'reboot', timeoutMs: number): Promise<void> {
    return talkToAgent(context, machine, (agent) => agent.tell('guest-shutdown', { mode }), { timeoutMs })
  }

  /** Starts the machine again when it is off. */
  function watchReboot(machine: Machine): void {
    const intercept = ({ event }: QmpEvent) => {
      if (!machine.details.rebooting) {
        machine.interceptors.delete(intercept)
        return false
      }
      if (event === 'STOP') return true
      if (event !== 'SHUTDOWN') return false
      machine.interceptors.delete(intercept)
      void startAgain(machine).catch((error: unknown) => {
        context.log.warn(
          { domain: machine.details.definition.name, error: String(error) },
          'A reboot failed.',
        )
      })
      return true
    }
    machine.interceptors.add(intercept)
  }

  return { shutdown, reboot, watchReboot }
}

/** Gives whether that was the end of it: a guest may be off, and its QEMU gone, before that has answered. */
async function pressButton({ monitor, ended }: Machine): Promise<boolean> {
  try {
    await monitor.execute('system_powerdown')
    return false
  } catch (error) {
    if (toVisorError(error).code !== 'unavailable') throw error
    const late = new AbortController()
    const isOff = await Promise.race([
      ended.then(() => true),
      sleep(goneMs, false, { signal: late.signal }).catch(() => false),
    ])
    late.abort()
    if (!isOff) throw error
    return true
  }
}

/** From off, kept, to running anew. */
export async function startAgain(machine: Machine): Promise<void> {
  const { monitor } = machine
  const actions = actionsOf(machine.details.definition)
  const reset = Promise.withResolvers<void>()
  const intercept = ({ event }: QmpEvent) => {
    if (event === 'RESET') reset.resolve()
    // Some guests ask for their power-off more than once.
    return event === 'STOP' || event === 'RESUME' || event === 'SHUTDOWN'
  }
  machine.interceptors.add(intercept)
  startingAgain.add(machine)
  void monitor.closed.then(() => reset.resolve())
  try {
    // Until the reset has happened, QEMU refuses to let the processors go on.
    machine.setState({ state: 'running', reason: 'booted' })
    await machine.record({ restarting: true })
    // A machine that is to end when its guest resets must not end by this.
    if (actions.reboot !== 'reset') await monitor.execute('set-action', { reboot: 'reset' })
    await monitor.execute('system_reset')
    await reset.promise
    await monitor.execute('set-action', { ...actions, reboot: 'reset' })
    if (actions.reboot !== 'reset') void restoreActions(machine)
    await monitor.execute('cont')
    await machine.record({ rebooting: undefined, restarting: undefined })
  } catch (error) {
    machine.setState(fromStatus(await monitor.execute('query-status').catch(() => undefined)))
    throw error
  } finally {
    machine.interceptors.delete(intercept)
    startingAgain.delete(machine)
  }
}

/** SeaBIOS resets the machine once more when its memory is that of a run before. */
const firmwareMs = 5_000
/** It asks for that in several ways one after another, of which a busy host follows more than one. */
const quietMs = 300

/** A reset by the guest ends the machine again, once its firmware has passed. */
async function restoreActions(machine: Machine): Promise<void> {
  const passed = Promise.withResolvers<void>()
  let timer = setTimeout(passed.resolve, firmwareMs).unref()
  const intercept = ({ event, data }: QmpEvent) => {
    if (event !== 'RESET' || data.guest !== true) return false
    clearTimeout(timer)
    timer = setTimeout(passed.resolve, quietMs).unref()
    return false
  }
  machine.interceptors.add(intercept)
  await passed.promise
  machine.interceptors.delete(intercept)
  await setActions(machine).catch(() => {})
}

/** As its definition has it. */
export async function setActions(machine: Machine): Promise<void> {
  await machine.monitor.execute('set-action', { ...actionsOf(machine.details.definition) })
}

const startingAgain = new WeakSet<Machine>()

/** Whether {@link startAgain} is at work: what it does to the machine is no end of it. */
export function isStartingAgain(machine: Machine): boolean {
  return startingAgain.has(machine)
}

/** A reboot that was asked for and has not come is no longer wanted. */
async function stopRebooting(machine: Machine): Promise<void> {
  if (!machine.details.rebooting) return
  await setActions(machine)
  await machine.record({ rebooting: undefined })
}

function checkAcpi({ details }: Machine): void {
  const { name, features } = details.definition
  if (!features.acpi)
    throw new VisorError('unavailable', `Domain '${name}' has no ACPI, so it has no power button.`, {
      remedy: 'Give it the feature acpi and start it anew; or stop it from within, or destroy it.',
    })
}
