/** Asks a guest to power off or to reboot: by its power button, by its agent. */
import type { Domains, ShutdownOptions } from '../../driver/index.ts'
import { VisorError } from '../../model/index.ts'
import type { Context } from './context.ts'
import { agentChannel, askAgent } from './guest-agent.ts'
import type { Machine } from './machine.ts'
import { fromStatus } from './machine-state.ts'
import type { QmpEvent } from './qmp/index.ts'
import { isRecord } from './qmp/index.ts'
import type { Registry } from './registry.ts'

const agentTimeoutMs = 5_000
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
    const agent = agentSocket(machine)
    if (mode !== 'acpi' && agent) {
      const { name } = machine.details.definition
      const timeoutMs = mode === 'agent' ? agentTimeoutMs : shortAgentTimeoutMs
      const told = await askAgent(agent, name, 'reboot', timeoutMs).then(
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
    const agent = agentSocket(machine)
    const { name, features } = machine.details.definition
    if (mode === 'agent') {
      if (!agent) throw noAgent(machine)
      return askAgent(agent, name, what, agentTimeoutMs)
    }
    if (mode === 'acpi' || features.acpi) checkAcpi(machine)
    if (features.acpi) await machine.monitor.execute('system_powerdown')
    if (mode === 'acpi') return
    // Guests that ignore the button may listen to their agent; asked only when one is connected.
    if (agent && (await isAgentConnected(machine))) {
      const asked = askAgent(agent, name, what, shortAgentTimeoutMs)
      if (features.acpi) await asked.catch(() => {})
      else await asked
    } else if (!features.acpi) checkAcpi(machine)
  }

  function agentSocket({ details }: Machine): string | undefined {
    const { uuid, devices } = details.definition
    const channel = devices.channels.find(({ name }) => name === agentChannel)
    return channel && (channel.path ?? context.paths.of(uuid).socket(channel.alias ?? ''))
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

/** From off, kept, to running anew. */
export async function startAgain(machine: Machine): Promise<void> {
  const { monitor } = machine
  const reset = Promise.withResolvers<void>()
  const intercept = ({ event }: QmpEvent) => {
    if (event === 'RESET') reset.resolve()
    // Some guests ask for their power-off more than once.
    return event === 'STOP' || event === 'RESUME' || event === 'SHUTDOWN'
  }
  machine.interceptors.add(intercept)
  void monitor.closed.then(() => reset.resolve())
  try {
    // Until the reset has happened, QEMU refuses to let the processors go on.
    machine.setState({ state: 'running', reason: 'booted' })
    await monitor.execute('system_reset')
    await reset.promise
    await monitor.execute('set-action', { shutdown: 'poweroff' })
    await monitor.execute('cont')
    await machine.record({ rebooting: undefined })
  } catch (error) {
    machine.setState(fromStatus(await monitor.execute('query-status').catch(() => undefined)))
    throw error
  } finally {
    machine.interceptors.delete(intercept)
  }
}

/** A reboot that was asked for and has not come is no longer wanted. */
async function stopRebooting(machine: Machine): Promise<void> {
  if (!machine.details.rebooting) return
  await machine.monitor.execute('set-action', { shutdown: 'poweroff' })
  await machine.record({ rebooting: undefined })
}

async function isAgentConnected({ monitor, details }: Machine): Promise<boolean> {
  const channel = details.definition.devices.channels.find(({ name }) => name === agentChannel)
  const answer = await monitor.execute('query-chardev').catch(() => [])
  const found = (Array.isArray(answer) ? answer : []).find(
    (one) => isRecord(one) && one.label === `char${channel?.alias}`,
  )
  return isRecord(found) && found['frontend-open'] === true
}

function checkAcpi({ details }: Machine): void {
  const { name, features } = details.definition
  if (!features.acpi)
    throw new VisorError('unavailable', `Domain '${name}' has no ACPI, so it has no power button.`, {
      remedy: 'Give it the feature acpi and start it anew; or stop it from within, or destroy it.',
    })
}

function noAgent({ details }: Machine): VisorError {
  return new VisorError(
    'unavailable',
    `Domain '${details.definition.name}' has no channel for a guest agent.`,
    {
      remedy: `Add a channel with the name '${agentChannel}' to its definition, and start it anew.`,
    },
  )
}
