import { randomUUID } from 'node:crypto'
import { open, rename, rm, stat } from 'node:fs/promises'
import { VisorError } from '../../model/index.ts'
import { completeDefinition } from './definition.ts'
import type { SavedState } from './guest.ts'

const format = 'visor test state 1'
const fileLimit = 16 * 2 ** 20

/** Writes a state where the user asked, whole or not at all. Fails with `failed`. */
export async function writeStateFile(file: string, state: SavedState): Promise<void> {
  const draft = `${file}.${randomUUID()}.part`
  try {
    const handle = await open(draft, 'wx', 0o600)
    try {
      await handle.writeFile(JSON.stringify({ format, ...state }))
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(draft, file)
  } catch (cause) {
    await rm(draft, { force: true })
    throw new VisorError(
      'failed',
      `The state could not be written to ${file}: ${(cause as Error).message}.`,
      {
        cause,
        remedy: 'Check that the directory is there and has space.',
      },
    )
  }
}

/** Reads a state back. Fails with `not-found` or `invalid-argument`. */
export async function readStateFile(file: string): Promise<SavedState> {
  const text = await readBounded(file)
  try {
    const state = JSON.parse(text) as SavedState & { format?: unknown }
    if (state.format !== format) throw new Error(`it does not begin with '${format}'`)
    const { definition, paused, runMs, printed } = state
    if (typeof paused !== 'boolean' || !Number.isFinite(runMs) || typeof printed !== 'string')
      throw new Error('it is not complete')
    return {
      definition: { ...completeDefinition(definition), uuid: definition.uuid },
      paused,
      runMs,
      printed,
    }
  } catch (cause) {
    throw new VisorError(
      'invalid-argument',
      `${file} is no state of a test guest: ${(cause as Error).message}.`,
      {
        cause,
      },
    )
  }
}

async function readBounded(file: string): Promise<string> {
  try {
    const { size } = await stat(file)
    if (size > fileLimit) throw new Error(`it is larger than ${fileLimit} bytes`)
    const handle = await open(file)
    try {
      return await handle.readFile('utf8')
    } finally {
      await handle.close()
    }
  } catch (cause) {
    throw new VisorError('not-found', `The state file ${file} cannot be read: ${(cause as Error).message}.`, {
      cause,
    })
  }
}
