/** Bridges made from network cards of this host; a process of its own watches over each change. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { HostBridges, Log } from '../../driver/index.ts'
import { bootId, isRunning, signalProcess, waitForExit, writeFileAtomic } from '../../host/index.ts'
import { type HostBridge, notFound, VisorError } from '../../model/index.ts'
import { checkPlan, describeNotes } from './check.ts'
import { findProgram, formatConfiguration } from './configuration.ts'
import { reachesAll } from './gateways.ts'
import { readLinkState } from './link-state.ts'
import { type BridgePlan, describePlan, giveBack, masterOf, readResolver } from './move.ts'
import {
  type BridgeRecord,
  forgetRecord,
  readRecord,
  readRecords,
  type Task,
  taskFile,
  writeRecord,
} from './record.ts'

export interface HostBridgesContext {
  readonly folder: string
  readonly log: Log
  /** Networks that are on a bridge now. */
  readonly usersOf: (bridge: string) => readonly string[]
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>
}

export interface KeptHostBridges {
  readonly operations: HostBridges
  /** Gives back what was never confirmed, and what a killed process left half done. */
  adopt(): Promise<void>
  close(): void
}

/** A step may wait for the kernel, and programs start slowly on a busy host. */
const moveMs = 120_000
/** Who was heard a while ago is asked once more by the kernel, some five seconds later. */
const [askMs, askFirstMs] = [2000, 7000]

export function hostBridges({ folder, log, usersOf, alone }: HostBridgesContext): KeptHostBridges {
  const boot = bootId()
  let closed = false

  async function find(bridge: string): Promise<BridgeRecord> {
    const record = await readRecord(folder, bridge)
    if (!record) throw notFound('host bridge', bridge)
    return record
  }

  /** Whoever watched over it is gone: what was not confirmed goes back. */
  async function settle(bridge: string): Promise<void> {
    const record = await readRecord(folder, bridge)
    if (!record || record.phase === 'active' || record.phase === 'failed') return
    if (record.mover && isRunning(record.mover)) return
    const complaints = record.boot === boot ? await giveBack(record.plan) : []
    if (complaints.length === 0) await forgetRecord(folder, bridge)
    else await writeRecord(folder, { ...record, phase: 'broken', message: complaints.join(' ') })
    log.warn({ bridge, nic: record.plan.nic, complaints }, 'A bridge that nobody confirmed was taken back.')
  }

  /** Sees what becomes of it, also when who watches over it is killed. */
  function watch({ mover, plan: { bridge } }: BridgeRecord): void {
    void (async () => {
      while (mover && !closed && !(await waitForExit(mover, 1000)));
      if (!closed) await alone(() => settle(bridge))
    })().catch((error: unknown) =>
      log.error({ bridge, error: String(error) }, 'A bridge could not be taken back.'),
    )
  }

  /** Hands a task over; resolves when it is done, or waits to be confirmed. */
  async function hand(task: Task): Promise<BridgeRecord | undefined> {
    const { bridge } = task.plan
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeFileAtomic(taskFile(folder, bridge), JSON.stringify(task), { durable: false })
    const child = spawn(process.execPath, [findMover(), folder, bridge], { detached: true, stdio: 'ignore' })
    child.unref()
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
      child.once('error', () => resolve())
    })
    let isOver = false
    void ended.then(() => {
      isOver = true
    })
    const deadline = performance.now() + moveMs
    while (!isOver && performance.now() < deadline) {
      const record = await readRecord(folder, bridge)
      if (task.kind === 'create' && record?.phase === 'pending') return record
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 20))])
    }
    if (!isOver) child.kill('SIGTERM')
    await rm(taskFile(folder, bridge), { force: true })
    return readRecord(folder, bridge)
  }

  async function describe(record: BridgeRecord): Promise<HostBridge> {
    const { plan, phase, confirmBy, message } = record
    const { bridge, nic, state } = plan
    const program = await findProgram(nic)
    const isThere = phase === 'active' && masterOf(nic) !== bridge
    const isPending = phase === 'moving' || phase === 'pending'
    return {
      name: bridge,
      nic,
      state: phase === 'active' ? 'active' : isPending ? 'pending' : 'broken',
      addresses: state.addresses.map(({ text }) => text),
      gateways: [...state.gateways],
      ...(phase === 'pending' ? { reached: await reachesAll(bridge, plan.answered ?? [], askMs) } : {}),
      ...(confirmBy === undefined || !isPending ? {} : { confirmBy: new Date(confirmBy).toISOString() }),
      plan: describePlan(plan),
      notes: describeNotes(plan, program),
      configuration: formatConfiguration(program, plan),
      ...(message === undefined ? {} : { message }),
      ...(isThere ? { message: `'${nic}' is no longer on it: somebody else changed that.` } : {}),
    }
  }

  const operations: HostBridges = {
    list: async () => Promise.all((await readRecords(folder)).map(describe)),
    get: async (bridge) => describe(await find(bridge)),
    create: ({ name: bridge, nic, confirmSeconds = 30, dryRun = false }) =>
      alone(async () => {
        await checkPlan(bridge, nic, await readRecords(folder))
        const plan = await makePlan(bridge, nic)
        if (dryRun) return { ...(await describe({ phase: 'active', plan, boot })), ...planned }
        const made = await hand({ kind: 'create', plan, boot, confirmSeconds })
        if (made?.phase === 'pending') {
          watch(made)
          return describe(made)
        }
        if (made?.phase !== 'broken') await settle(bridge)
        if (made?.phase === 'failed') await forgetRecord(folder, bridge)
        throw new VisorError(
          'failed',
          `The bridge '${bridge}' could not be made: ${made?.message ?? 'the process that makes it ended.'}`,
          {
            object: { kind: 'host bridge', name: bridge },
            remedy:
              made?.phase === 'broken'
                ? `Not all could be put back: look at 'ip address show dev ${nic}'.`
                : `'${nic}' has all that it had before.`,
          },
        )
      }),
    confirm: async (bridge) => {
      const record = await find(bridge)
      if (record.phase === 'pending' && record.mover) {
        signalProcess(record.mover, 'SIGUSR2')
        await waitForExit(record.mover, moveMs)
      }
      const now = await readRecord(folder, bridge)
      if (now?.phase === 'active') return describe(now)
      throw new VisorError(
        'invalid-state',
        `The bridge '${bridge}' was not confirmed in time, and is taken back.`,
        {
          object: { kind: 'host bridge', name: bridge },
          remedy: 'Make it again, with more time.',
        },
      )
    },
    cancel: async (bridge) => {
      const { phase, mover } = await find(bridge)
      if (phase === 'active')
        throw new VisorError('invalid-state', `The bridge '${bridge}' is confirmed already.`, {
          object: { kind: 'host bridge', name: bridge },
          remedy: `Remove it: 'visor host-bridge remove ${bridge}'.`,
        })
      if (mover) {
        signalProcess(mover, 'SIGTERM')
        await waitForExit(mover, moveMs)
      }
      await alone(() => settle(bridge))
    },
    remove: (bridge) =>
      alone(async () => {
        const { phase, plan, mover } = await find(bridge)
        if (mover && phase !== 'active' && isRunning(mover))
          throw new VisorError('invalid-state', `The bridge '${bridge}' waits to be confirmed.`, {
            object: { kind: 'host bridge', name: bridge },
            remedy: `Confirm it or cancel it first: 'visor host-bridge cancel ${bridge}'.`,
          })
        await refuseUsed(bridge, plan.nic, usersOf(bridge))
        const isThere = existsSync(`/sys/class/net/${bridge}/bridge`)
        const { switches } = plan.state
        // What came to the bridge since it was made is the card's as well.
        const state = isThere ? { ...(await readLinkState(bridge)), switches } : plan.state
        const left = await hand({ kind: 'remove', plan: { ...plan, state }, boot, confirmSeconds: 1 })
        if (!left) return
        await settle(bridge)
        const still = await readRecord(folder, bridge)
        if (still)
          throw new VisorError('failed', `'${plan.nic}' did not get all back: ${still.message ?? ''}`, {
            object: { kind: 'host bridge', name: bridge },
            remedy: `Remove it once more, or look at 'ip address show dev ${plan.nic}'.`,
          })
      }),
  }

  return {
    operations,
    async adopt() {
      for (const name of (await readdir(folder).catch(() => [])) as string[])
        if (name.endsWith('.task')) await rm(join(folder, name), { force: true })
      for (const record of await readRecords(folder)) {
        const { bridge } = record.plan
        const isGone =
          record.boot !== boot || (record.phase === 'active' && !existsSync(`/sys/class/net/${bridge}`))
        if (isGone || record.phase === 'failed') await forgetRecord(folder, bridge)
        else if (record.mover && isRunning(record.mover)) watch(record)
        else await settle(bridge)
      }
    },
    close() {
      closed = true
    },
  }
}

const planned = { state: 'planned', reached: undefined, message: undefined } as const

async function makePlan(bridge: string, nic: string): Promise<BridgePlan> {
  const [state, resolver] = await Promise.all([readLinkState(nic), readResolver(nic)])
  const flags = Number(readFileSync(`/sys/class/net/${nic}/flags`, 'utf8'))
  const isUp = (flags & 1) === 1
  const answered: string[] = []
  for (const gateway of state.gateways)
    if (await reachesAll(nic, [gateway], askFirstMs)) answered.push(gateway)
  return { bridge, nic, isUp, state, resolver, answered }
}

/** Fails with `invalid-state` when others than the card are on it. */
async function refuseUsed(bridge: string, nic: string, networks: readonly string[]): Promise<void> {
  const ports = await readdir(`/sys/class/net/${bridge}/brif`).catch(() => [])
  const others = (ports as string[]).filter((port) => port !== nic)
  const users = [...networks.map((name) => `network '${name}'`), ...others.map((port) => `link '${port}'`)]
  if (users.length === 0) return
  throw new VisorError(
    'invalid-state',
    `The bridge '${bridge}' is in use: ${users.slice(0, 5).join(', ')}.`,
    {
      object: { kind: 'host bridge', name: bridge },
      remedy: 'Stop the guests and networks on it first.',
    },
  )
}

/** The program: beside this file as source, in dist/ when it is bundled. */
function findMover(): string {
  const here = dirname(fileURLToPath(import.meta.url))
  const places = ['mover.ts', 'host-bridge.js', '../host-bridge.js'].map((place) => join(here, place))
  const found = places.find((place) => existsSync(place))
  if (!found)
    throw new VisorError('unavailable', 'The program that makes bridges is missing.', {
      remedy: 'Install visor again; in a checkout, run npm run build.',
    })
  return found
}
