import { randomUUID } from 'node:crypto'
import type { ByteStream, Domains } from '../../driver/index.ts'
import { openConsoleLog } from '../../host/index.ts'
import { type Domain, type DomainState, type DomainStats, VisorError } from '../../model/index.ts'
import { openConsole } from './console.ts'
import { assignSlots, completeDefinition, serialPortNames } from './definition.ts'
import type { Running } from './guest.ts'
import type { Hypervisor, Known } from './hypervisor.ts'
import { withCards } from './network-card.ts'
import type { MachineStatus } from './protocol.ts'
import { readHeader } from './saved-state.ts'
import { readUsage } from './usage.ts'

/** Memory of a large guest takes its time. */
const saveTimeoutMs = 600_000

/** The domains part of the contract. */
export function openDomains(hypervisor: Hypervisor): Domains {
  const find = (uuid: string) => hypervisor.find(uuid)

  /** The machine of a guest in one of these states; fails with `invalid-state`. */
  function machineOf(known: Known, states: readonly DomainState[], purpose: string): Running {
    requireState(known, states, purpose)
    if (!known.guest.running) throw wrongState(known, states, purpose)
    return known.guest.running
  }

  async function restoreFrom(
    known: Known,
    file: string,
    kept: boolean,
    options: { paused?: boolean; signal?: AbortSignal },
  ) {
    const header = await readHeader(file)
    if (header.definition.uuid !== known.guest.uuid) throw foreignState(known.name, header.definition)
    const { paused = header.paused, signal } = options
    await hypervisor.start(known, { definition: header.definition, paused, restore: { file, kept }, signal })
  }

  return {
    async list({ states, names, driver } = {}) {
      if (driver !== undefined && driver !== 'v86') return []
      return hypervisor
        .all()
        .filter(
          ({ name, guest }) => (names?.includes(name) ?? true) && (states?.includes(guest.state) ?? true),
        )
        .sort((a, b) => (a.name < b.name ? -1 : 1))
        .map(observe)
    },
    async get(uuid) {
      return observe(find(uuid))
    },
    async describe(uuid, { inactive = false } = {}) {
      const { guest, defined } = find(uuid)
      return structuredClone((inactive ? undefined : guest.running?.details.definition) ?? defined.definition)
    },
    async define(input) {
      const definition = completeDefinition(input)
      const uuid = definition.uuid ?? hypervisor.domains.findByName(definition.name)?.definition.uuid
      const before = uuid === undefined ? undefined : hypervisor.domains.find(uuid)
      if (before && before.definition.name !== definition.name) refuseRename(find(before.definition.uuid))
      const known = await hypervisor.put(withCards({ ...definition, uuid: uuid ?? randomUUID() }))
      hypervisor.emit(known, 'defined', before ? 'updated' : 'added')
      return observe(known)
    },
    async undefine(uuid, { savedState = false } = {}) {
      const known = find(uuid)
      requireState(known, ['shutoff'], 'be undefined')
      if (known.guest.saved && !savedState) throw savedStateWaits(known.name)
      await hypervisor.dropSaved(known.guest)
      await hypervisor.remove(uuid)
      hypervisor.emit(known, 'undefined', 'removed')
    },
    async start(uuid, { paused, discardSaved = false, signal, progress } = {}) {
      const known = find(uuid)
      const { guest, defined } = known
      requireState(known, ['shutoff'], 'be started')
      if (guest.saved && !discardSaved)
        return restoreFrom(known, hypervisor.files.saved(uuid), true, { paused, signal })
      await refuseSharedDisks(hypervisor, known)
      await hypervisor.start(known, {
        definition: defined.definition,
        paused: paused ?? false,
        signal,
        progress,
      })
      if (guest.saved) await hypervisor.dropSaved(guest)
    },
    async shutdown(uuid, { mode = 'auto' } = {}) {
      const known = find(uuid)
      const { control } = machineOf(known, ['running'], 'be shut down')
      requireButton(known, mode)
      await control.ask({ do: 'press-power-button' })
    },
    async reboot(uuid, { mode = 'auto' } = {}) {
      const known = find(uuid)
      const { control } = machineOf(known, ['running'], 'be rebooted')
      requireButton(known, mode)
      await control.ask({ do: 'press-power-button', restart: true })
    },
    async destroy(uuid) {
      const known = find(uuid)
      const running = machineOf(known, ['running', 'paused', 'crashed'], 'be destroyed')
      known.guest.destroyed = true
      await untilGone(running, () => running.process.kill())
    },
    async reset(uuid) {
      const { control } = machineOf(find(uuid), ['running', 'paused'], 'be reset')
      await control.ask({ do: 'reset' })
    },
    async suspend(uuid) {
      const { control } = machineOf(find(uuid), ['running'], 'be suspended')
      await control.ask({ do: 'suspend' })
    },
    async resume(uuid) {
      const { control } = machineOf(find(uuid), ['paused'], 'be resumed')
      await control.ask({ do: 'resume' })
    },
    async setAutostart(uuid, { enabled }) {
      const known = find(uuid)
      if (known.defined.autostart === enabled) return
      await hypervisor.put(known.defined.definition, enabled)
      hypervisor.emit(known, 'changed', 'autostart')
    },
    async save(uuid, { file, progress } = {}) {
      const known = find(uuid)
      const running = machineOf(known, ['running', 'paused'], 'be saved')
      const { control, details } = running
      const header = { definition: details.definition, paused: known.guest.state === 'paused' }
      progress?.({ phase: 'writing the state' })
      const target = file ?? hypervisor.files.saved(uuid)
      await control.ask({ do: 'save', file: target, header: JSON.stringify(header) }, saveTimeoutMs)
      if (file === undefined) known.guest.saved = true
      await untilGone(running)
    },
    async restore(uuid, { file, paused, signal } = {}) {
      const known = find(uuid)
      requireState(known, ['shutoff'], 'be restored')
      if (file === undefined && !known.guest.saved) throw noSavedState(known.name)
      await restoreFrom(known, file ?? hypervisor.files.saved(uuid), file === undefined, { paused, signal })
    },
    async stats({ domains } = {}) {
      const asked = domains ? domains.map(find) : hypervisor.all().filter(({ guest }) => guest.running)
      return Promise.all(asked.map(readStats))
    },
    async openConsole(uuid, { device, scrollback = false } = {}): Promise<ByteStream> {
      const known = find(uuid)
      const running = machineOf(known, ['running', 'paused', 'crashed'], 'have a console')
      return openConsole(running, findPort(known, device), scrollback)
    },
    async consoleLog(uuid, { device, maxBytes } = {}) {
      const path = hypervisor.files.console(uuid, findPort(find(uuid), device))
      return openConsoleLog(path).tail(maxBytes)
    },
    async screenshot(uuid, { screen = 0 } = {}) {
      const known = find(uuid)
      const { control } = machineOf(known, ['running', 'paused', 'crashed'], 'have a screen')
      if (screen !== 0)
        throw new VisorError(
          'invalid-argument',
          `The domain '${known.name}' has no screen ${screen}; it has one.`,
        )
      const picture = (await control.ask({ do: 'take-picture' })) as string
      return { mediaType: 'image/png', bytes: Buffer.from(picture, 'base64') }
    },
    async screenText(uuid) {
      const known = find(uuid)
      const { control } = machineOf(known, ['running', 'paused', 'crashed'], 'have a screen')
      const lines = (await control.ask({ do: 'read-screen' })) as string[] | null
      if (!lines)
        throw new VisorError(
          'invalid-state',
          `The screen of the domain '${known.name}' shows graphics, no text.`,
          {
            remedy: `Take a picture: visor screenshot ${known.name}`,
          },
        )
      return lines.map((line) => `${line.trimEnd()}\n`).join('')
    },
  }
}

/**
 * Waits for the end of a machine that is on its way out. Nothing else may keep a program alive that opened
 * the driver by itself, and an adopted machine is looked at every second only.
 */
async function untilGone({ process, gone }: Running, end?: () => Promise<unknown>): Promise<void> {
  const look = setInterval(() => process.check(), 20)
  try {
    await end?.()
    await gone
  } finally {
    clearInterval(look)
  }
}

function observe({ name, guest, defined, persistent }: Known): Domain {
  const { title, vcpus, memoryKiB } = guest.running?.details.definition ?? defined.definition
  return { ...guest.describe(name, title, vcpus, memoryKiB), persistent, autostart: defined.autostart }
}

async function readStats({ name, guest }: Known): Promise<DomainStats> {
  const { uuid, state, running } = guest
  const nothing = { uuid, name, state, vcpus: [], blocks: [], interfaces: [] }
  const usage = running && (await readUsage(running.process.identity, running.process.cgroups))
  if (!running || !usage) return nothing
  const { memoryKiB } = running.details.definition
  return {
    uuid,
    name,
    state,
    cpuTimeNs: usage.totalNs,
    cpuUserNs: usage.userNs,
    cpuSystemNs: usage.systemNs,
    vcpus: [{ id: 0, timeNs: usage.totalNs }],
    memoryKiB,
    maxMemoryKiB: memoryKiB,
    residentKiB: usage.residentKiB,
    ...(await readDevices(running)),
  }
}

/** A machine that does not answer at once has no numbers to show. */
async function readDevices({
  control,
  details,
}: Running): Promise<Pick<DomainStats, 'blocks' | 'interfaces'>> {
  const slots = assignSlots(details.definition)
  const { interfaces } = details.definition.devices
  if (slots.length + interfaces.length === 0) return { blocks: [], interfaces: [] }
  const status = (await control.ask({ do: 'status' }, 1000).catch(() => undefined)) as
    | MachineStatus
    | undefined
  return {
    blocks: slots.map(({ slot, disk }) => ({
      name: disk.target,
      ...(disk.file === undefined ? {} : { path: disk.file }),
      ...status?.disks[slot],
    })),
    interfaces: interfaces.map(({ target = '' }) => ({ name: target, ...status?.card })),
  }
}

function findPort({ name, guest, defined }: Known, device: string | undefined): number {
  if (device === undefined) return 0
  const names = serialPortNames(guest.running?.details.definition ?? defined.definition)
  const port = names.findIndex((list) => list.includes(device))
  if (port >= 0) return port
  throw new VisorError('invalid-argument', `The domain '${name}' has no console '${device}'.`, {
    remedy: `It has ${names.map(([first]) => first).join(', ')}.`,
  })
}

const words: Record<DomainState, string> = {
  running: 'running',
  blocked: 'blocked',
  paused: 'paused',
  shutdown: 'shutting down',
  shutoff: 'shut off',
  crashed: 'crashed',
  pmsuspended: 'asleep',
}

function requireState(known: Known, states: readonly DomainState[], purpose: string): void {
  if (!states.includes(known.guest.state)) throw wrongState(known, states, purpose)
}

function wrongState(
  { name, guest: { state } }: Known,
  states: readonly DomainState[],
  purpose: string,
): VisorError {
  const wanted = states.map((word) => words[word]).join(' or ')
  const command =
    state === 'shutoff'
      ? `Start it first: visor start ${name}`
      : states.includes('shutoff')
        ? `Stop it first: visor destroy ${name}`
        : state === 'paused'
          ? `Let it go on first: visor resume ${name}`
          : `Suspend it first: visor suspend ${name}`
  return new VisorError(
    'invalid-state',
    `The domain '${name}' is ${words[state]}; it must be ${wanted} to ${purpose}.`,
    { remedy: command, object: { kind: 'domain', name } },
  )
}

function requireButton({ name, guest }: Known, mode: 'auto' | 'acpi' | 'agent'): void {
  if (mode === 'agent')
    throw new VisorError(
      'unavailable',
      `The domain '${name}' has no guest agent: driver v86 has no channel for one.`,
      {
        remedy: 'Use the power button: --mode acpi.',
      },
    )
  if (guest.running?.details.definition.features.acpi) return
  throw new VisorError('invalid-state', `The domain '${name}' has no power button: it is without ACPI.`, {
    remedy: `Add the feature acpi to its definition for the next start; now destroy it: visor destroy ${name}`,
    object: { kind: 'domain', name },
  })
}

/** Two guests that write one disk destroy what is on it. */
async function refuseSharedDisks(hypervisor: Hypervisor, { name, guest, defined }: Known): Promise<void> {
  const disksOf = ({ devices }: Known['defined']['definition']) =>
    devices.disks
      .filter(({ file, device }) => file !== undefined && device !== 'cdrom')
      .map(({ file }) => file)
  const wanted = disksOf(defined.definition)
  for (const other of hypervisor.all()) {
    const running = other.guest.running
    if (!running || other.guest === guest) continue
    const shared = disksOf(running.details.definition).find((file) => wanted.includes(file))
    if (shared !== undefined)
      throw new VisorError(
        'invalid-state',
        `The domain '${name}' cannot have the disk '${shared}': '${other.name}' runs with it.`,
        { remedy: `Stop that one first: visor stop ${other.name}`, object: { kind: 'domain', name } },
      )
  }
}

function refuseRename(known: Known): void {
  requireState(known, ['shutoff'], 'be renamed')
  if (known.guest.saved) throw savedStateWaits(known.name)
}

function savedStateWaits(name: string): VisorError {
  return new VisorError('invalid-state', `The domain '${name}' has a saved state, which would be lost.`, {
    remedy: `Restore it first (visor restore ${name}), or say that it shall go: --saved-state.`,
    object: { kind: 'domain', name },
  })
}

function noSavedState(name: string): VisorError {
  return new VisorError('invalid-state', `The domain '${name}' has no saved state.`, {
    remedy: `Start it: visor start ${name}`,
    object: { kind: 'domain', name },
  })
}

function foreignState(name: string, of: { readonly name: string; readonly uuid: string }): VisorError {
  return new VisorError(
    'invalid-argument',
    `The state is of the domain '${of.name}' (uuid ${of.uuid}), not of '${name}'.`,
  )
}
