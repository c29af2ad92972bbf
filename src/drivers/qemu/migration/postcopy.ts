/**
 * A connection that breaks in the middle of a post-copy: the guest runs at the destination, and some of its memory is
 * still at the source. Nothing is lost while both QEMUs live: the rest is sent over another connection. Source: QEMU's
 * docs/devel/migration, "Postcopy Recovery".
 *
 *     source:       postcopy-active --broken--> postcopy-paused --migrate, resume--> postcopy-recover --> completed
 *     destination:  postcopy-active --broken--> postcopy-paused --migrate-recover--> postcopy-recover --> completed
 */
import type { CompleteConnection } from '../../../driver/index.ts'
import { VisorError } from '../../../model/index.ts'
import { grantAccess } from '../machine/access.ts'
import type { Machine } from '../machine/machine.ts'
import type { QmpEvent } from '../qmp/index.ts'
import type { Registry } from '../registry.ts'
import { queryMigrate } from './channel.ts'

const watched = new WeakSet<Machine>()

/** At the destination: says in the state of the machine that it waits for memory, until it has come. */
export function tellOfBreaks(machine: Machine, registry: Registry): void {
  if (watched.has(machine)) return
  watched.add(machine)
  const { uuid, name } = machine.details.definition
  const before = { broken: false }
  machine.interceptors.add(({ event, data }: QmpEvent) => {
    if (event !== 'MIGRATION') return false
    if (data.status === 'postcopy-paused') {
      before.broken = true
      const message = `The connection broke while some of the memory of domain '${name}' was still at its source; it stands still where it needs that. The source goes on by itself when it reaches this host again, or at once: 'visor migrate ${name} --settle' there.`
      machine.setState({ state: 'paused', reason: 'migrating', message })
      registry.tell(uuid, { type: 'suspended', reason: 'migrating', message })
    }
    if (data.status === 'completed' && before.broken) {
      before.broken = false
      machine.setState({ state: 'running', reason: 'migrated' })
      registry.tell(uuid, { type: 'resumed', reason: 'migrating' })
    }
    return true
  })
}

/** Of a source whose connection broke: sends the rest over another one. Does nothing when it did not break. */
export async function resumePostcopy(
  machine: Machine,
  { migrations }: Pick<CompleteConnection, 'migrations'>,
): Promise<void> {
  const { leaving } = machine.details
  if (!leaving || (await queryMigrate(machine)).status !== 'postcopy-paused') return
  try {
    const { transport = 'unix', address } = leaving.channel ?? {}
    const where = { transport, ...(address === undefined ? {} : { address }) }
    const { uri } = await migrations.recover(leaving.id, where)
    if (uri.startsWith('unix:'))
      await grantAccess(machine, [{ path: uri.slice('unix:'.length), write: true, what: 'socket' }])
    await machine.monitor.execute('migrate', { uri, resume: true })
  } catch (error) {
    // Somebody else, a user or the daemon itself, was faster.
    if ((await queryMigrate(machine)).status === 'postcopy-paused') throw error
  }
}

/** What users are told at the source. */
export function brokenPostcopy({ details }: Machine): VisorError {
  const { definition, leaving } = details
  const { name } = definition
  return new VisorError(
    'unavailable',
    `The connection broke while domain '${name}' runs at ${leaving?.to} and some of its memory is still here.`,
    {
      object: { kind: 'domain', name },
      remedy: `Nothing is lost while it waits there and here: the rest is sent as soon as the other host answers, asked every few seconds, or at once by 'visor migrate ${name} --settle'. Destroy it neither here nor there.`,
    },
  )
}
