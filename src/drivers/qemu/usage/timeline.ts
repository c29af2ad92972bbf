/** Where the time of a start goes, measured as it passes. */
import type { Domains } from '../../../driver/index.ts'
import { type StartPhase, startPhases, type Timeline, VisorError } from '../../../model/index.ts'
import { agentChannel } from '../agent/index.ts'
import type { Machine } from '../machine/machine.ts'
import type { QmpEvent } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'

export interface StartClock {
  /** The phase is over, now or since `at` (of `performance.now`); only the first word counts. */
  mark(phase: StartPhase, at?: number): void
  timeline(): Timeline
}

/** Counts from now. */
export function startClock(): StartClock {
  const startedAt = new Date().toISOString()
  const began = performance.now()
  const marks = new Map<StartPhase, number>()
  return {
    mark(phase, at = performance.now()) {
      if (!marks.has(phase)) marks.set(phase, Math.round((at - began) * 100) / 100)
    },
    timeline: () => ({
      startedAt,
      phases: startPhases.flatMap((name) => {
        const atMs = marks.get(name)
        return atMs === undefined ? [] : [{ name, atMs }]
      }),
    }),
  }
}

const clocks = new WeakMap<Machine, StartClock>()

/** A guest that has not come to its first program by then is no longer watched. */
const patienceMs = 180_000
const shortestLookMs = 20
/** So many looks at the same place, each a twentieth of the time passed after the other. */
const idleLooks = 5

/**
 * Goes on measuring while the guest boots. Kernels live in the upper half of the addresses, firmware and
 * programs in the lower half: looking at where the first processor is tells them apart, to about a twentieth
 * of the time passed. A kernel that waits at one place for a fourth of it has nothing left to do: its first
 * program ran between two looks. Guests of 32 bits are not told apart, and one that goes on from a saved state
 * does not boot.
 */
export function watchBoot(machine: Machine, clock: StartClock, isFresh: boolean): void {
  clocks.set(machine, clock)
  const agent = machine.details.definition.devices.channels.find(({ name }) => name === agentChannel)
  const intercept = ({ event, data }: QmpEvent) => {
    if (event === 'VSERPORT_CHANGE' && data.id === agent?.alias && data.open === true) {
      machine.interceptors.delete(intercept)
      clock.mark('agent')
      void keep(machine, clock)
    }
    return false
  }
  if (agent) machine.interceptors.add(intercept)
  if (isFresh) void followProcessor(machine, clock).then(() => keep(machine, clock))
}

async function followProcessor(machine: Machine, clock: StartClock): Promise<void> {
  const began = performance.now()
  let idle = { counter: '', since: 0, looks: 0 }
  let inKernel = false
  for (let passed = 0; passed < patienceMs; passed = performance.now() - began) {
    // Firmware that waits, as for a key, is not looked at as often.
    const rest = idle.looks > idleLooks ? 5 : 1
    const wait = Math.max(shortestLookMs, passed / 20) * rest
    await new Promise((resolve) => setTimeout(resolve, wait).unref())
    const counter = await readCounter(machine)
    if (counter === undefined) return
    const isUpper = /^[89a-f]/u.test(counter)
    if (isUpper) clock.mark('firmware')
    else if (inKernel) return clock.mark('kernel')
    inKernel ||= isUpper
    const isSame = counter === idle.counter
    idle = isSame ? { ...idle, looks: idle.looks + 1 } : { counter, since: performance.now(), looks: 1 }
    if (isUpper && idle.looks > idleLooks) return clock.mark('kernel', idle.since)
  }
}

/** The program counter of the first processor, 16 digits; of zeros in 16 and 32 bits, undefined when it cannot be seen. */
async function readCounter(machine: Machine): Promise<string | undefined> {
  try {
    const text = await machine.monitor.execute('human-monitor-command', {
      'command-line': 'info registers',
    })
    const registers = String(text).slice(0, 4096)
    const counter = /(?:\bRIP=|\bPC=|\bpc\s+)([0-9a-f]{16})\b/u.exec(registers)?.[1]
    return counter ?? (registers.includes('EIP=') ? '0'.repeat(16) : undefined)
  } catch {
    return undefined
  }
}

/** For the daemons after this one. */
async function keep(machine: Machine, clock: StartClock): Promise<void> {
  await machine.record({ timeline: clock.timeline() }).catch(() => {})
}

export function timelines(registry: Registry): Required<Pick<Domains, 'timeline'>> {
  return {
    async timeline(uuid) {
      const machine = registry.running(uuid)
      const found = clocks.get(machine)?.timeline() ?? machine.details.timeline
      if (found) return found
      const { name } = machine.details.definition
      throw new VisorError('invalid-state', `Nobody measured how domain '${name}' was started.`, {
        remedy: 'Only the visord that starts a domain can: start it anew.',
      })
    },
  }
}
