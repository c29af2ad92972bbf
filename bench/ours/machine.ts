import { readFileSync } from 'node:fs'
import type { CompleteConnection } from '../../src/index.ts'
import type { DomainDefinitionInput } from '../../src/model/index.ts'
import { type Guest, visorDefinition } from '../guest.ts'
import type { Workbench } from '../harness.ts'

/** One machine on a connection of ours; it does not outlive the bench. */
export interface Machine {
  start(): Promise<void>
  destroy(): Promise<void>
  /** The command line that ours runs QEMU with. */
  commandLine(): Promise<string[]>
}

export async function defineMachine(
  bench: Workbench,
  { domains }: CompleteConnection,
  guest: Guest,
  { features = {}, devices = {} }: Pick<DomainDefinitionInput, 'features' | 'devices'> = {},
): Promise<Machine> {
  const plain = visorDefinition(guest)
  const all = { ...plain, features, devices: { ...plain.devices, ...devices } }
  const { uuid } = await domains.define(all)
  const state = async () => (await domains.get(uuid)).state
  bench.defer(async () => {
    if ((await state()) !== 'shutoff') await domains.destroy(uuid)
  })
  return {
    start: () => domains.start(uuid),
    destroy: () => domains.destroy(uuid),
    async commandLine() {
      const { pid } = await domains.get(uuid)
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
    },
  }
}
