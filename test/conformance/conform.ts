/**
 * One suite for all drivers: what the contract (src/driver/connection.ts) promises, asked of a connection
 * behind `guard()`. What a driver has is held to it; what it lacks must fail with `unsupported`.
 */
import { after, before, describe, test } from 'node:test'
import { type OperationName, supports } from '../../src/driver/index.ts'
import { Bench, type Subject } from './bench.ts'
import { callCases } from './call-cases.ts'
import { consoleCases } from './console-cases.ts'
import { definitionCases } from './definition-cases.ts'
import { lifecycleCases } from './lifecycle-cases.ts'
import { observationCases } from './observation-cases.ts'
import { persistenceCases } from './persistence-cases.ts'
import { savedStateCases } from './saved-state-cases.ts'

/** One promise. */
export interface Case {
  readonly name: string
  /** A driver without one of these is not asked. */
  readonly needs?: readonly OperationName[]
  /** What the subject must tell for it; one without is not asked. `persists`: it is re-opened. */
  readonly wants?: readonly (keyof Subject)[]
  run(bench: Bench): Promise<void>
}

/** Tests that are left out, and why; names as in the suite. */
export interface Skip {
  readonly reason: string
  readonly tests: readonly string[]
}

export interface ConformOptions extends Subject {
  readonly name: string
  readonly skip?: readonly Skip[]
}

const cases: readonly Case[] = [
  ...definitionCases,
  ...lifecycleCases,
  ...savedStateCases,
  ...observationCases,
  ...consoleCases,
  ...callCases,
  ...persistenceCases,
]

/** Why a case is not asked. */
const notTold: Partial<Record<keyof Subject, string>> = {
  persists: 'nothing of it outlives the connection',
  greeting: 'its guest prints nothing',
  echo: 'its guest does not answer',
  keys: 'its guest cannot end itself',
  powersOff: 'its guest has no power button',
  stateFile: 'it writes no states to files',
  kill: 'its guests cannot be killed behind its back',
}

/** Registers the suite for one driver with node:test. */
export function conform({ name, skip = [], ...subject }: ConformOptions): void {
  const reasons = new Map(skip.flatMap(({ reason, tests }) => tests.map((test) => [test, reason])))
  const unknown = [...reasons.keys()].filter((test) => !cases.some((known) => known.name === test))
  if (unknown.length > 0) throw new Error(`There are no conformance tests '${unknown.join("', '")}' to skip.`)

  describe(`${name} keeps the contract`, () => {
    const bench = new Bench(subject)
    before(() => bench.open())
    after(() => bench.close())
    for (const known of cases)
      test(known.name, async (context) => {
        const lacking = known.needs?.find((operation) => !supports(bench.connection, operation))
        const silent = known.wants?.find((key) => !subject[key])
        const reason =
          reasons.get(known.name) ??
          (lacking && `the driver has no ${lacking}`) ??
          (silent && notTold[silent])
        if (reason) return context.skip(reason)
        try {
          await known.run(bench)
        } catch (error) {
          await bench.clear().catch((second) => context.diagnostic(`Then clearing up failed: ${second}`))
          throw error
        }
        await bench.clear()
      })
  })
}
