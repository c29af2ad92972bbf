/**
 * Does what a definition says about the end of a run: on_poweroff, on_reboot, on_crash. Source: libvirt's
 * "Domain XML format", events configuration.
 *
 *   guest ends --SHUTDOWN--> kept, off ---.--destroy--> gone
 *   guest panics --GUEST_PANICKED--> kept -|--restart--> runs anew in the same QEMU
 *                                          |            (later each time, when it does so at once)
 *                                          |--preserve-> stays, to be looked at
 *                                          '--coredump-*: its memory is written first
 *
 * A machine that ended while no visord ran is kept by QEMU as it is, and settled at adoption.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { watchClock } from '../board/clock-changes.ts'
import type { Context } from '../context.ts'
import { explainIoError, watchIoErrors } from '../disks/io-errors.ts'
import type { QmpEvent } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'
import { actionsOf, type LifecycleAction, policyOf, watchdogOf } from './actions.ts'
import { noteCrash } from './crashes/crash-loop.ts'
import { dumping } from './dump.ts'
import type { Machine } from './machine.ts'
import { isStartingAgain, setActions, startAgain } from './power.ts'

export interface Policies {
  /** Does from now on what its definition says; call it once for each machine. */
  watch(machine: Machine): void
  /** Does it for one that was found, if it has ended already. */
  settle(machine: Machine): Promise<void>
}

export function policies(context: Context, registry: Registry): Policies {
  const { coreDump } = dumping(registry)

  async function follow(machine: Machine, action: LifecycleAction, ending: 'shutdown' | 'crashed') {
    const { uuid, name } = machine.details.definition
    const restarts = action === 'restart' || action === 'coredump-restart'
    const mayStart = restarts && ending === 'crashed' ? noteCrash(machine) : async () => true
    try {
      if (action.startsWith('coredump-')) await dumpCore(uuid, name)
      if (restarts) await ((await mayStart()) && startAgain(machine))
      else if (action !== 'preserve') await end(machine, ending)
    } catch (error) {
      context.log.warn(
        { domain: name, action, error: String(error) },
        'What its definition says could not be done.',
      )
    }
  }

  async function dumpCore(uuid: string, name: string): Promise<void> {
    const { dumps } = context.paths
    await mkdir(dumps, { recursive: true, mode: 0o700 })
    const when = new Date().toISOString().replace(/[:.]/gu, '-')
    const file = join(dumps, `${name.replace(/[^\w.-]/gu, '_').slice(0, 100)}-${when}.core`)
    try {
      await coreDump(uuid, { file })
      context.log.info({ domain: name, file }, 'The memory of a guest that crashed was written.')
    } catch (error) {
      // The rest of the policy is done all the same.
      context.log.warn({ domain: name, error: String(error) }, 'A core dump failed.')
    }
  }

  /** Of a guest that hung: its memory is kept, and it gets another chance. */
  async function dumpAndGoOn({ details, monitor }: Machine): Promise<void> {
    const { uuid, name } = details.definition
    await dumpCore(uuid, name)
    await monitor.execute('cont').catch((error: unknown) => {
      context.log.warn({ domain: name, error: String(error) }, 'A guest that hung could not go on.')
    })
  }

  /** QEMU 7.2 can hang on its way out, with its images closed, when it is asked something in that moment. */
  function seeToEnd(machine: Machine): void {
    const timer = setTimeout(() => {
      context.log.warn(
        { domain: machine.details.definition.name },
        'A QEMU that was to end by itself did not.',
      )
      void machine.kill(machine.state.ending ?? 'shutdown')
    }, exitMs).unref()
    void machine.ended.then(() => clearTimeout(timer))
  }

  return {
    watch(machine) {
      watchIoErrors(machine, registry)
      watchClock(machine, registry)
      machine.interceptors.add(({ event }) => {
        const { definition, rebooting } = machine.details
        const endsByItself = actionsOf(definition).shutdown === 'poweroff' && !rebooting
        if (event === 'SHUTDOWN' && endsByItself && !isStartingAgain(machine)) seeToEnd(machine)
        return false
      })
      machine.interceptors.add((event: QmpEvent) => {
        const { definition, rebooting } = machine.details
        if (rebooting) return false
        if (event.event === 'GUEST_PANICKED') {
          const { onCrash } = definition
          const endsByItself = onCrash === 'destroy' && actionsOf(definition).shutdown === 'poweroff'
          if (!endsByItself) setImmediate(() => void follow(machine, onCrash, 'crashed'))
        }
        if (event.event === 'WATCHDOG' && watchdogOf(definition) === 'dump')
          setImmediate(() => void dumpAndGoOn(machine))
        if (event.event !== 'SHUTDOWN' || machine.state.ending !== undefined) return false
        const action = policyOf(event, definition)
        if (isStartingAgain(machine) || action === undefined) return false
        if (action === 'restart') {
          void follow(machine, action, 'shutdown')
          return true
        }
        // Elsewhere QEMU ends by itself, and is not to be disturbed in that.
        const isKept = actionsOf(definition).shutdown === 'pause'
        if (action === 'destroy' && isKept) setImmediate(() => void follow(machine, action, 'shutdown'))
        return false
      })
    },
    async settle(machine) {
      const { definition, rebooting } = machine.details
      if (rebooting) return
      const { state } = machine.state
      if (actionsOf(definition).reboot !== 'reset') await setActions(machine).catch(() => {})
      // Why it is off is not told any more; only one of two reasons can leave it so in all but odd pairs.
      const whenOff = definition.onPoweroff === 'destroy' ? definition.onReboot : definition.onPoweroff
      if (machine.state.reason === 'io-error') await explainIoError(machine)
      if (state === 'shutdown') await follow(machine, whenOff, 'shutdown')
      if (state === 'crashed') await follow(machine, definition.onCrash, 'crashed')
    },
  }
}

/** Longer than images take to be closed. */
const exitMs = 60_000
const quitTimeoutMs = 10_000

/** Lets QEMU close its images; whether it did or not, it is gone afterwards. */
async function end(machine: Machine, ending: 'shutdown' | 'crashed'): Promise<void> {
  machine.expectEnd(ending)
  await machine.monitor.execute('quit', undefined, { timeoutMs: quitTimeoutMs }).catch(() => {})
  let timer: NodeJS.Timeout | undefined
  await Promise.race([
    machine.ended,
    new Promise((resolve) => {
      timer = setTimeout(resolve, quitTimeoutMs)
    }),
  ])
  clearTimeout(timer)
  await machine.kill(ending)
}
