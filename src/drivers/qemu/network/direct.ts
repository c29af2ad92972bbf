/** Cards directly on a network card of the host: macvtaps, which are removed when nobody else does it. */
import { createHash } from 'node:crypto'
import { markedLinks, openMacvtap, removeMarked, type Tap } from '../../../host/index.ts'
import type { Interface } from '../../../model/index.ts'
import type { Context } from '../context.ts'
import type { Machine } from '../machine/machine.ts'

/** Whose link it is: of this daemon, and of this machine. */
function markOf({ owner }: Pick<Context, 'owner'>, uuid: string): string {
  return `visor:${createHash('sha256').update(owner).digest('hex').slice(0, 12)}:${uuid}`
}

/** Opens that of a card. Fails as `openMacvtap` does. */
export function openDirect(context: Pick<Context, 'owner'>, uuid: string, one: Interface): Promise<Tap> {
  const { target, dev = '', mode = 'vepa', mac, queues, mtu } = one
  // As in libvirt, such a name is one that was given to a link once, and says nothing about the next.
  const name = target === undefined || /^(?:macvtap|vnet)\d+$/u.test(target) ? undefined : target
  if (mode === 'server' || mode === 'client') throw new TypeError('Modes of sockets are refused before.')
  return openMacvtap({ name, on: dev, mode, mac, queues, mtu, mark: markOf(context, uuid) })
}

/** Removes the links of a machine, or that of one card. */
export async function removeDirect(
  context: Pick<Context, 'owner'>,
  uuid: string,
  only?: string | undefined,
): Promise<void> {
  const mark = markOf(context, uuid)
  for (const { name } of await markedLinks(mark))
    if (only === undefined || only === name) await removeMarked(name, mark)
}

/** Links of machines that run go with them; the others were left behind when a daemon was killed, and go now. */
export async function adoptDirect(
  context: Context,
  machineOf: (uuid: string) => Machine | undefined,
): Promise<void> {
  const begin = markOf(context, '')
  for (const uuid of new Set((await markedLinks(begin)).map(({ mark }) => mark.slice(begin.length)))) {
    const machine = machineOf(uuid)
    if (machine) machine.companions.add(() => removeDirect(context, uuid))
    else {
      await removeDirect(context, uuid)
      // Its link was still there when networks looked for who is gone.
      await context.networks?.leave(uuid)
    }
  }
}
