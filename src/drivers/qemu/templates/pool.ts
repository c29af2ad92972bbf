/**
 * Copies of templates that wait to be taken. They are made one at a time, when no clone is wanted just now;
 * one that ends is made anew. A pool whose copies cannot be made is tried again after a while.
 */
import { rm } from 'node:fs/promises'
import type { Context } from '../context.ts'
import type { Machine } from '../machine/machine.ts'
import type { TemplateRecord } from './record.ts'
import type { Spare } from './spare.ts'

const retryMs = 30_000
/** Whoever takes a copy works with it first. */
const restMs = 500

export interface Pools {
  ready(id: string): number
  /** One that is ready; undefined when none is. Another is made later. */
  take(id: string): Spare | undefined
  add(id: string, spare: Spare): void
  /** Brings all pools to their size, in the background, a moment later. */
  fill(): void
  /** Ends all copies of a template, or those beyond `keep`. */
  drain(id: string, keep?: number): Promise<void>
  /** Lets go of the copies; they wait for the next daemon. */
  close(): Promise<void>
}

export interface PoolsOptions {
  readonly context: Context
  readonly templates: () => readonly TemplateRecord[]
  /** Whether clones are being made for somebody who waits. */
  readonly busy: () => boolean
  readonly make: (record: TemplateRecord) => Promise<Spare>
}

export function openPools({ context, templates, busy, make }: PoolsOptions): Pools {
  const pools = new Map<string, Spare[]>()
  let filling: Promise<void> | undefined
  let again = false
  let retry: NodeJS.Timeout | undefined
  let closed = false
  const of = (id: string) => pools.get(id) ?? []

  function add(id: string, spare: Spare): void {
    pools.set(id, [...of(id), spare])
    void spare.machine.ended.then(async () => {
      if (closed || !of(id).includes(spare)) return
      pools.set(
        id,
        of(id).filter((other) => other !== spare),
      )
      await removeOwnFiles(context, spare.machine)
      retry ??= setTimeout(fillNow, retryMs).unref()
    })
  }

  const wanting = () => templates().find(({ id, phase, pool }) => phase === 'ready' && of(id).length < pool)

  async function fillAll(): Promise<void> {
    for (let record = wanting(); record && !closed; record = wanting()) {
      if (busy()) return
      const { id } = record
      const spare = await make(record)
      const still = templates().find((one) => one.id === id)
      if (closed) await spare.machine.forget()
      else if (still && of(id).length < still.pool) add(id, spare)
      else await end(context, spare)
    }
  }

  function fill(): void {
    clearTimeout(retry)
    retry = closed ? undefined : setTimeout(fillNow, restMs).unref()
  }

  function fillNow(): void {
    retry = undefined
    again = true
    if (filling || closed) return
    again = false
    filling = fillAll()
      .catch((error: unknown) => {
        context.log.warn({ error: String(error) }, 'A copy for the pool of a template could not be made.')
        if (!closed) retry ??= setTimeout(fillNow, retryMs).unref()
      })
      .finally(() => {
        filling = undefined
        if (again && !retry) fillNow()
      })
  }

  return {
    ready: (id) => of(id).length,
    take(id) {
      const [first, ...rest] = of(id)
      if (first) pools.set(id, rest)
      return first
    },
    add,
    fill,
    async drain(id, keep = 0) {
      await filling
      const surplus = of(id).slice(keep)
      pools.set(id, of(id).slice(0, keep))
      await Promise.all(surplus.map((spare) => end(context, spare)))
    },
    async close() {
      closed = true
      clearTimeout(retry)
      await filling
      for (const { machine, hook } of [...pools.values()].flat()) {
        hook?.close()
        await machine.forget()
      }
    },
  }
}

/** Ends a copy that is no domain, with all of it. */
export async function end(
  context: Context,
  { machine, hook }: Pick<Spare, 'machine' | 'hook'>,
): Promise<void> {
  hook?.close()
  await machine.kill('destroyed')
  await removeOwnFiles(context, machine)
}

export async function removeOwnFiles({ paths }: Context, { details }: Machine): Promise<void> {
  const { clone, consoleDirectory, tpm } = paths.of(details.definition.uuid)
  for (const path of [clone, consoleDirectory, tpm]) await rm(path, { recursive: true, force: true })
}
