import assert from 'node:assert/strict'
import type { CompleteConnection } from '../../src/driver/index.ts'
import { identifyProcess, isRunning, type ProcessIdentity } from '../../src/host/index.ts'
import type { DomainDefinitionInput, VisorError } from '../../src/model/index.ts'
import type { Random } from '../fixtures/random.ts'
import type { Visord } from '../fixtures/visord.ts'

/** What is known of the domain: the title of its definition (none: it is not defined) and its process. */
interface Known {
  readonly title?: string
  readonly running?: true
  /** Of one that was seen to run. */
  readonly process?: ProcessIdentity
}

interface Step {
  readonly name: string
  /** What holds when it went well. */
  readonly after: Known
  run(domains: CompleteConnection['domains']): Promise<unknown>
}

/**
 * Somebody with one domain, who creates, edits, starts, stops and deletes it, and remembers what visord
 * acknowledged. A call that was cut off may have happened or not; everything else must be so.
 */
export class Client {
  readonly name: string
  /** Calls that went well. */
  acknowledged = 0
  /** Of all domains it ever had. */
  readonly uuids: string[] = []
  private known: Known = {}
  /** The step that was cut off. */
  private cutOff: Step | undefined
  private going = false
  private work: Promise<void> = Promise.resolve()
  private titles = 0
  private readonly visord: Visord
  private readonly dice: Random
  private readonly define: (title: string) => DomainDefinitionInput

  constructor(name: string, visord: Visord, dice: Random, define: (title: string) => DomainDefinitionInput) {
    this.name = name
    this.visord = visord
    this.dice = dice
    this.define = define
  }

  /** Begins to work, until {@link halt}. */
  go(): void {
    this.going = true
    this.work = this.loop()
    // Looked at in halted().
    this.work.catch(() => {})
  }

  /** No new calls from now on. */
  halt(): void {
    this.going = false
  }

  /** Resolves when no call is under way; fails when one failed for another reason than a dead visord. */
  halted(): Promise<void> {
    return this.work
  }

  /** While visord is dead: the guest must run on. */
  checkAlive(): void {
    const { process } = this.known
    if (process && this.cutOff?.name !== 'destroy')
      assert.ok(isRunning(process), `The guest ${this.name}, process ${process.pid}, runs on without visord.`)
  }

  /** Asserts that visord knows what it acknowledged, and learns what became of the call that was cut off. */
  async check({ domains }: CompleteConnection): Promise<void> {
    const found = await this.look(domains)
    const allowed = this.cutOff ? [this.known, this.cutOff.after] : [this.known]
    const fits = allowed.some(
      ({ title, running, process }) =>
        found.title === title &&
        found.running === running &&
        (process === undefined || (process.pid === found.process?.pid && isRunning(process))),
    )
    const words = JSON.stringify({ found, allowed, cutOff: this.cutOff?.name })
    assert.ok(fits, `The domain ${this.name} is as it was acknowledged: ${words}`)
    this.known = found
    this.cutOff = undefined
  }

  /** Takes the domain away. */
  async clear(): Promise<void> {
    const connection = await this.visord.connect()
    try {
      if (this.known.running) await connection.domains.destroy(this.name)
      if (this.known.title !== undefined) await connection.domains.undefine(this.name)
    } finally {
      await connection.close()
    }
    this.known = {}
  }

  private async loop(): Promise<void> {
    const connection = await this.visord.connect().catch(ifDead)
    if (!connection) return
    try {
      while (this.going) {
        const step = this.nextStep()
        try {
          await step.run(connection.domains)
        } catch (error) {
          ifDead(error)
          this.cutOff = step
          return
        }
        this.acknowledged++
        this.known = step.after
        if (step.after.running) await this.learnProcess(connection.domains)
      }
    } finally {
      await connection.close()
    }
  }

  private nextStep(): Step {
    const { title, running } = this.known
    if (title === undefined || this.dice.below(6) === 0) return this.defineStep()
    const { name } = this
    if (running) return { name: 'destroy', after: { title }, run: (domains) => domains.destroy(name) }
    if (this.dice.below(3) === 0)
      return { name: 'undefine', after: {}, run: (domains) => domains.undefine(name) }
    return { name: 'start', after: { title, running: true }, run: (domains) => domains.start(name) }
  }

  private defineStep(): Step {
    const title = `version ${++this.titles}`
    return {
      name: 'define',
      after: { ...this.known, title },
      run: async (domains) => {
        const { uuid } = await domains.define(this.define(title))
        if (!this.uuids.includes(uuid)) this.uuids.push(uuid)
      },
    }
  }

  /** Remembers the process of the guest; when visord dies meanwhile, it is not known. */
  private async learnProcess(domains: CompleteConnection['domains']): Promise<void> {
    const found = await this.look(domains).catch(ifDead)
    if (found) this.known = found
    else this.going = false
  }

  private async look(domains: CompleteConnection['domains']): Promise<Known> {
    try {
      const { uuid, state, pid } = await domains.get(this.name)
      const { title } = await domains.describe(uuid, { inactive: true })
      if (!this.uuids.includes(uuid)) this.uuids.push(uuid)
      const process = pid === undefined ? undefined : identifyProcess(pid)
      return {
        ...(title !== undefined && { title }),
        ...(state === 'running' && { running: true as const }),
        ...(process && { process }),
      }
    } catch (error) {
      if ((error as VisorError).code === 'not-found') return {}
      throw error
    }
  }
}

/** Lets the failure of a call to a dead visord pass, and no other. */
function ifDead(error: unknown): undefined {
  if ((error as VisorError).code !== 'unavailable') throw error
  return undefined
}
