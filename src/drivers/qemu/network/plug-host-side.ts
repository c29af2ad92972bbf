/** What is at the host's end of the cable of a card that is plugged into a machine that runs. */
import type { Interface } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import type { Part } from '../definition/parts.ts'
import { endCompanion } from '../machine/companion.ts'
import type { Machine } from '../machine/machine.ts'
import { removeDirect } from './direct.ts'
import { tapFields } from './network-parts.ts'
import { isPasst, startPasst } from './passt.ts'
import { isTap, openTaps, withVhost } from './taps.ts'

export interface PluggedSide {
  /** The parts of the card, with the names by which QEMU knows its open files. */
  readonly parts: readonly Part[]
  /** The definition with the name that a link of the host has got. */
  readonly definition: CompleteDefinition
  /** QEMU has what it needs: closes what is open here. */
  close(): void
  /** The card was refused: nothing of it stays. */
  end(): Promise<void>
}

/** Makes that of one card of `definition`. Fails as `openTap` and `startPasst` do; nothing is left then. */
export async function plugHostSide(
  context: Context,
  machine: Machine,
  definition: CompleteDefinition,
  { alias = '', parts }: { readonly alias?: string | undefined; readonly parts: readonly Part[] },
): Promise<PluggedSide> {
  const one = definition.devices.interfaces.find((card) => card.alias === alias)
  if (one && isPasst(one)) return plugPasst(context, machine, definition, { one, parts })
  if (one && isTap(one)) return plugTap(context, machine, definition, { one, parts })
  return { parts, definition, close() {}, end: async () => {} }
}

interface Plugged {
  readonly one: Interface
  readonly parts: readonly Part[]
}

async function plugPasst(
  context: Context,
  machine: Machine,
  definition: CompleteDefinition,
  { one, parts }: Plugged,
): Promise<PluggedSide> {
  const process = await startPasst(context, definition, one, machine.guest.user)
  const end = () => endCompanion(process)
  machine.companions.add(end)
  return {
    ...{ parts, definition },
    close() {},
    async end() {
      machine.companions.delete(end)
      await end()
    },
  }
}

/** QEMU gets the files by its monitor, under names, and takes them from there. */
async function plugTap(
  context: Context,
  { monitor, companions }: Machine,
  definition: CompleteDefinition,
  { one, parts }: Plugged,
): Promise<PluggedSide> {
  const alone = { ...definition, devices: { ...definition.devices, interfaces: [one] } }
  const taps = await openTaps(withVhost(alone), context)
  const given: string[] = []
  const give = async (kind: FileKind, files: readonly number[]) => {
    const names: string[] = []
    for (const [index, file] of files.entries()) {
      const name = fileName(one.alias, kind, index)
      await monitor.execute('getfd', { fdname: name }, { file })
      given.push(name)
      names.push(name)
    }
    return names
  }
  const removeLink = () => removeDirect(context, definition.uuid)
  const end = async () => {
    companions.delete(removeLink)
    taps.close()
    await taps.leave()
    for (const name of given) await monitor.execute('closefd', { fdname: name }).catch(() => {})
  }
  try {
    const [card] = taps.cards
    const fields = tapFields(await give('tap', card?.queues ?? []), await give('vhost', card?.vhosts ?? []))
    const named = parts.map((part) =>
      part.option === 'netdev' && part.type === 'tap'
        ? { ...part, fields: { id: part.fields.id, sndbuf: part.fields.sndbuf, ...fields } }
        : part,
    )
    if (taps.hasDirect) companions.add(removeLink)
    return { parts: named, definition: taps.named(definition), close: taps.close, end }
  } catch (error) {
    await end()
    throw error
  }
}

type FileKind = 'tap' | 'vhost'

/** The name of an open file in QEMU: one that begins with a digit would be a number. */
const fileName = (alias: string | undefined, kind: FileKind, index: number) => `${kind}-${alias}-${index}`

/** Files that a daemon before gave to QEMU for a card that never came. */
export async function forgetFiles({ monitor }: Machine, { devices }: CompleteDefinition): Promise<void> {
  for (const { alias, queues = 1 } of devices.interfaces.filter(isTap))
    for (const kind of ['tap', 'vhost'] as const)
      for (let index = 0; index < queues; index++)
        await monitor.execute('closefd', { fdname: fileName(alias, kind, index) }).catch(() => {})
}
