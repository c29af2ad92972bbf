/** What is at the host's end of the cables of a machine: made before it starts, gone when it ends. */
import type { GuestProcess, GuestUser } from '../../../host/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { endCompanion } from '../machine/companion.ts'
import type { Machine } from '../machine/machine.ts'
import { removeDirect } from './direct.ts'
import { isPasst, startPasst } from './passt.ts'
import { openTaps, withVhost } from './taps.ts'

export interface HostSide {
  /** With the names that links of the host have got. */
  readonly definition: CompleteDefinition
  /** All files of QEMU after its sockets: the state that it reads, then the queues of its cards. */
  filesWith(incoming: number | undefined): number[]
  /** QEMU has its files: closes them here. */
  close(): void
  /** There is no QEMU: ends all of it. */
  end(): Promise<void>
  /** All of it ends with this machine. */
  follow(machine: Machine): void
}

/** Makes that of a machine. Fails as `openTap` and `startPasst` do; nothing is left then. */
export async function openHostSide(
  context: Context,
  definition: CompleteDefinition,
  user: GuestUser | undefined,
): Promise<HostSide> {
  const processes: GuestProcess[] = []
  const endProcesses = async () => {
    for (const one of processes) await endCompanion(one)
  }
  try {
    for (const one of definition.devices.interfaces)
      if (isPasst(one)) processes.push(await startPasst(context, definition, one, user))
    const taps = await openTaps(withVhost(definition), context)
    return {
      definition: taps.named(definition),
      filesWith: taps.filesWith,
      close: taps.close,
      async end() {
        await taps.leave()
        await endProcesses()
      },
      follow({ companions }) {
        if (taps.hasDirect) companions.add(() => removeDirect(context, definition.uuid))
        for (const one of processes) companions.add(() => endCompanion(one))
      },
    }
  } catch (error) {
    await endProcesses()
    throw error
  }
}
