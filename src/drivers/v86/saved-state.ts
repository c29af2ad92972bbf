/**
 * The file of a saved machine: a line that says what it is, a line of JSON that says whose and how, then the
 * state as v86 writes it, compressed with zstd.
 */
import { createReadStream } from 'node:fs'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import { syncDirectory } from '../../host/index.ts'
import { DomainDefinition, parse, VisorError } from '../../model/index.ts'
import type { IdentifiedDefinition } from './definition.ts'

const magic = 'visor v86 state 1'
const mostHeaderBytes = 4 * 2 ** 20
/** A guest's 2 GiB and its video memory. */
const mostStateBytes = 3 * 2 ** 30

/** What a driver says about a state that it has saved. */
export interface SavedHeader {
  readonly definition: IdentifiedDefinition
  readonly paused: boolean
}
/** What only the machine knows. */
interface MachineHeader {
  /** The guest's clock, milliseconds. */
  readonly timeMs: number
  /** Of v86, whose format it is. */
  readonly version: string
}

/** Writes a state, whole or not at all; it survives a power cut when it resolves. Fails with `failed`. */
export async function writeState(
  file: string,
  header: SavedHeader & MachineHeader,
  state: Uint8Array,
): Promise<void> {
  const draft = `${file}.${process.pid}.part`
  try {
    const fast = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }
    const packed = await promisify(zstdCompress)(state, fast)
    const handle = await open(draft, 'wx', 0o600)
    try {
      await handle.writeFile(Buffer.concat([Buffer.from(`${magic}\n${JSON.stringify(header)}\n`), packed]))
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(draft, file)
    await syncDirectory(dirname(file))
  } catch (cause) {
    await rm(draft, { force: true })
    throw new VisorError(
      'failed',
      `The state could not be written to '${file}': ${(cause as Error).message}.`,
      {
        remedy: 'Check that the directory is there and has space.',
        cause,
      },
    )
  }
}

/** Whose state a file holds. Fails with `not-found` or `invalid-argument`. */
export async function readHeader(file: string): Promise<SavedHeader & MachineHeader> {
  const [header] = splitHeader(await readStart(file), file)
  return header
}

/** Reads all of it. Fails as {@link readHeader}. */
export async function readState(file: string): Promise<{ header: MachineHeader; state: ArrayBuffer }> {
  try {
    const [header, at] = splitHeader(await readStart(file), file)
    const packed = (await readFile(file)).subarray(at)
    const state = await promisify(zstdDecompress)(packed, { maxOutputLength: mostStateBytes })
    // v86 wants a buffer that is the state's alone.
    return { header, state: new Uint8Array(state).buffer }
  } catch (cause) {
    if (cause instanceof VisorError) throw cause
    throw noState(file, cause)
  }
}

async function readStart(file: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    const stream = createReadStream(file, { end: mostHeaderBytes - 1, highWaterMark: 64 * 1024 })
    for await (const chunk of stream) {
      chunks.push(chunk as Buffer)
      if (Buffer.concat(chunks).indexOf('\n', magic.length + 1) >= 0) break
    }
  } catch (cause) {
    throw new VisorError('not-found', `The state '${file}' cannot be read: ${(cause as Error).message}.`, {
      cause,
    })
  }
  return Buffer.concat(chunks)
}

function splitHeader(start: Buffer, file: string): [SavedHeader & MachineHeader, number] {
  const end = start.indexOf('\n', magic.length + 1)
  if (end < 0 || start.toString('latin1', 0, magic.length + 1) !== `${magic}\n`) throw noState(file)
  try {
    const header = JSON.parse(start.toString('utf8', magic.length + 1, end)) as SavedHeader & MachineHeader
    const definition = parse(DomainDefinition, header.definition) as IdentifiedDefinition
    if (typeof header.paused !== 'boolean' || !Number.isFinite(header.timeMs) || !definition.uuid)
      throw new Error('its header is not complete')
    return [{ ...header, definition }, end + 1]
  } catch (cause) {
    throw noState(file, cause)
  }
}

function noState(file: string, cause?: unknown): VisorError {
  return new VisorError('invalid-argument', `'${file}' is no saved state of driver v86.`, { cause })
}
