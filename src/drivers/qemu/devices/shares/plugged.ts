/** Shares that are plugged into machines that run. */
import type { Undo } from '../../../../host/index.ts'
import { VisorError } from '../../../../model/index.ts'
import { servedBeside } from '../../board/memory/shared-memory.ts'
import type { Context } from '../../context.ts'
import type { CompleteDefinition } from '../../definition/definition.ts'
import { grantAccess } from '../../machine/access.ts'
import type { Machine } from '../../machine/machine.ts'
import { isRecord } from '../../qmp/index.ts'
import { filesOfShare, isVirtiofs } from './filesystems.ts'
import { endShare, type Shares, startShares } from './serve.ts'

type Plugged = { readonly alias?: string }

const shareOf = ({ devices }: CompleteDefinition, { alias }: Plugged) =>
  devices.filesystems.find((one) => one.alias === alias && isVirtiofs(one))

/** Fails with `unsupported-config` for what another program serves in a machine whose memory nobody else can see. */
export async function checkPluggedMemory(machine: Machine, added: CompleteDefinition): Promise<void> {
  const { path, what } = servedBeside(added)[0] ?? {}
  if (path === undefined) return
  const answer = await machine.monitor.execute('query-memdev')
  const backends = Array.isArray(answer) ? answer.filter(isRecord) : []
  if (backends.length > 0 && backends.every(({ share }) => share === true)) return
  throw new VisorError(
    'unsupported-config',
    `Domain '${added.name}' runs with memory of its own alone, and '${what}' needs memory that is shared.`,
    {
      path,
      remedy: `Add it for the next start (config); with it in its definition, or 'memoryBacking: { access: shared }', the domain starts with shared memory.`,
    },
  )
}

/** Starts what serves it, if that is ours to do, so that QEMU can be told of it. */
export async function plugShare(
  context: Context,
  machine: Machine,
  definition: CompleteDefinition,
  added: Plugged,
  undo: Undo,
): Promise<Shares | undefined> {
  const one = shareOf(definition, added)
  if (!one) return undefined
  undo.push(await grantAccess(machine, filesOfShare(one)))
  const shares = await startShares(
    context,
    definition,
    machine.guest.user,
    ({ alias }) => alias === added.alias,
  )
  shares.keepWith(machine)
  undo.push(() => endShare(machine, one.alias ?? ''))
  return shares
}
