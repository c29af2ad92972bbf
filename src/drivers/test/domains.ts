import { randomUUID } from 'node:crypto'
import type { Domains } from '../../driver/index.ts'
import { formatPng } from '../../host/index.ts'
import { VisorError } from '../../model/index.ts'
import { completeDefinition, screenCount } from './definition.ts'
import type { SavedState } from './guest.ts'
import type { Hypervisor, Known } from './hypervisor.ts'
import { readStateFile, writeStateFile } from './saved-state.ts'
import { drawScreen, screenLines } from './screen.ts'
import { requireState } from './states.ts'

/** The domains part of the contract. `isDeaf`: the guests do not listen to their power button. */
export function openDomains(hypervisor: Hypervisor, isDeaf: () => boolean): Domains {
  const find = (uuid: string) => hypervisor.find(uuid)
  const observe = ({ guest, defined }: Known) => guest.describe(defined.definition, defined.autostart)
  const demand = ({ name, guest }: Known, states: Parameters<typeof requireState>[1], purpose: string) =>
    requireState({ name, state: guest.state }, states, purpose)

  async function goOn({ guest }: Known, from: SavedState, paused = from.paused): Promise<void> {
    await hypervisor.setSaved(guest, undefined)
    guest.boot(from.definition, { from, paused })
  }

  function screenOf(uuid: string): string[] {
    const known = find(uuid)
    demand(known, ['running', 'paused', 'crashed'], 'have a screen')
    const printed = Buffer.from(known.guest.log(known.defined.definition, undefined, 8192)).toString('utf8')
    return screenLines(printed)
  }

  function refuseRename(known: Known): void {
    demand(known, ['shutoff'], 'be renamed')
    if (known.guest.saved) throw savedStateWaits(known.name)
  }

  return {
    async list({ states, names, driver } = {}) {
      if (driver !== undefined && driver !== 'test') return []
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
      return structuredClone((inactive ? undefined : guest.definition) ?? defined.definition)
    },
    async define(input) {
      const definition = completeDefinition(input)
      const uuid = definition.uuid ?? hypervisor.domains.findByName(definition.name)?.definition.uuid
      const before = uuid === undefined ? undefined : hypervisor.domains.find(uuid)
      if (before && before.definition.name !== definition.name) refuseRename(find(before.definition.uuid))
      const known = await hypervisor.put({ ...definition, uuid: uuid ?? randomUUID() })
      hypervisor.emit(known.name, known.guest, 'defined', before ? 'updated' : 'added')
      return observe(known)
    },
    async undefine(uuid, { savedState = false } = {}) {
      const known = find(uuid)
      demand(known, ['shutoff'], 'be undefined')
      if (known.guest.saved && !savedState) throw savedStateWaits(known.name)
      await hypervisor.setSaved(known.guest, undefined)
      await hypervisor.remove(uuid)
      hypervisor.emit(known.name, known.guest, 'undefined', 'removed')
    },
    async start(uuid, { paused, discardSaved = false } = {}) {
      const known = find(uuid)
      const { guest, defined } = known
      demand(known, ['shutoff'], 'be started')
      if (guest.saved && !discardSaved) return goOn(known, guest.saved, paused)
      await hypervisor.setSaved(guest, undefined)
      guest.boot(defined.definition, { paused: paused ?? false })
    },
    async shutdown(uuid, { mode = 'auto' } = {}) {
      const known = find(uuid)
      demand(known, ['running'], 'be shut down')
      refuseAgent(known, mode)
      if (!isDeaf()) known.guest.later(() => known.guest.powerOff())
    },
    async destroy(uuid) {
      const known = find(uuid)
      demand(known, ['running', 'paused', 'crashed'], 'be destroyed')
      known.guest.stop('destroyed')
    },
    async reboot(uuid, { mode = 'auto' } = {}) {
      const known = find(uuid)
      demand(known, ['running'], 'be rebooted')
      refuseAgent(known, mode)
      if (!isDeaf()) known.guest.later(() => known.guest.reboot())
    },
    async reset(uuid) {
      const known = find(uuid)
      demand(known, ['running', 'paused'], 'be reset')
      known.guest.restart()
    },
    async suspend(uuid) {
      const known = find(uuid)
      demand(known, ['running'], 'be suspended')
      known.guest.suspend()
    },
    async resume(uuid) {
      const known = find(uuid)
      demand(known, ['paused'], 'be resumed')
      known.guest.resume()
    },
    async setAutostart(uuid, { enabled }) {
      const { name, guest, defined } = find(uuid)
      if (defined.autostart === enabled) return
      await hypervisor.put(defined.definition, enabled)
      hypervisor.emit(name, guest, 'changed', 'autostart')
    },
    async save(uuid, { file, progress } = {}) {
      const known = find(uuid)
      demand(known, ['running', 'paused'], 'be saved')
      const state = known.guest.capture()
      progress?.({ phase: 'writing', done: 0, total: 100, unit: 'percent' })
      if (file === undefined) await hypervisor.setSaved(known.guest, state)
      else await writeStateFile(file, state)
      progress?.({ phase: 'writing', done: 100, total: 100, unit: 'percent' })
      known.guest.emit('saved', file === undefined ? 'kept' : 'file')
      known.guest.stop('saved')
    },
    async restore(uuid, { file, paused } = {}) {
      const known = find(uuid)
      demand(known, ['shutoff'], 'be restored')
      const state = file === undefined ? known.guest.saved : await readStateFile(file)
      if (!state) throw noSavedState(known.name)
      if (state.definition.uuid !== uuid) throw foreignState(known.name, state)
      if (file === undefined) await goOn(known, state, paused)
      else known.guest.boot(state.definition, { from: state, paused: paused ?? state.paused })
    },
    async stats({ domains } = {}) {
      const asked = domains ? domains.map(find) : hypervisor.all().filter(({ guest }) => guest.active)
      return asked.map(({ name, guest }) => guest.stats(name))
    },
    async openConsole(uuid, { device, scrollback = false } = {}) {
      const known = find(uuid)
      demand(known, ['running', 'paused', 'crashed'], 'have a console')
      return known.guest.open(device, scrollback)
    },
    async consoleLog(uuid, { device, maxBytes } = {}) {
      const { guest, defined } = find(uuid)
      return guest.log(guest.definition ?? defined.definition, device, maxBytes)
    },
    async screenshot(uuid, { screen = 0 } = {}) {
      const lines = screenOf(uuid)
      const { name, guest, defined } = find(uuid)
      const count = screenCount(guest.definition ?? defined.definition)
      if (screen >= count)
        throw new VisorError(
          'invalid-argument',
          `The domain '${name}' has no screen ${screen}; it has ${count}.`,
        )
      return { mediaType: 'image/png', bytes: formatPng(drawScreen(lines)) }
    },
    async screenText(uuid) {
      return screenOf(uuid)
        .map((line) => `${line.trimEnd()}\n`)
        .join('')
    },
  }
}

const agentChannel = 'org.qemu.guest_agent.0'

function refuseAgent({ name, guest }: Known, mode: string): void {
  if (mode !== 'agent' || guest.definition?.devices.channels.some((channel) => channel.name === agentChannel))
    return
  throw new VisorError('unavailable', `The domain '${name}' has no guest agent.`, {
    remedy: `Give it a channel named ${agentChannel}, or use the power button: --mode acpi.`,
  })
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

function foreignState(name: string, { definition }: SavedState): VisorError {
  const whose = `'${definition.name}' (uuid ${definition.uuid})`
  return new VisorError('invalid-argument', `The state is of the domain ${whose}, not of '${name}'.`)
}
