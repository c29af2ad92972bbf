/**
 * The file of a saved machine:
 *
 *     0     8 bytes  'VISORSAV'
 *     8     uint32   version of this layout, 1
 *     12    uint32   length of the JSON
 *     16    uint64   length of QEMU's part; 0 while it is being written
 *     24             JSON: the machine
 *     ...            zeros up to a multiple of 4096
 *     then           QEMU's migration stream
 *
 * Numbers are little-endian. It is written under another name, synced and renamed: a file of this name is whole.
 */
import { chown, type FileHandle, open, rename, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { type GuestUser, syncDirectory } from '../../../host/index.ts'
import { DomainDefinition, parse, VisorError } from '../../../model/index.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { cannotOpen } from '../disks/disk-image.ts'
import { isRecord } from '../qmp/index.ts'

const magic = 'VISORSAV'
const layout = 1
const alignment = 4096
const fixedBytes = 24
const longestJson = 16 * 2 ** 20

export interface SavedMachine {
  /** Of the save: tells whether it is the one a daemon looks for. */
  readonly id: string
  readonly savedAt: string
  readonly emulatorVersion: string
  /** Whether it was paused when it was saved. */
  readonly paused: boolean
  readonly definition: CompleteDefinition
}

export interface OpenSavedState {
  readonly machine: SavedMachine
  /** Stands where QEMU's part begins. */
  readonly file: FileHandle
  readonly sizeBytes: number
}

/** Opens a saved state for QEMU. Fails with `not-found`, `denied`, or `failed` when it is none or not whole. */
export async function openSavedState(path: string): Promise<OpenSavedState> {
  const file = await open(path, 'r').catch((cause) => {
    throw cannotOpen(path, cause, 'saved state')
  })
  try {
    const head = await readExactly(file, fixedBytes)
    if (head?.toString('latin1', 0, 8) !== magic) throw bad(path, 'is no saved state of visor')
    if (head.readUInt32LE(8) !== layout) throw bad(path, 'was written by another version of visor')
    const length = head.readUInt32LE(12)
    const sizeBytes = Number(head.readBigUInt64LE(16))
    const start = bodyStart(length)
    if (length > longestJson || sizeBytes === 0 || (await file.stat()).size < start + sizeBytes)
      throw bad(path, 'is not whole')
    // Read on from the head, so that the file stands where QEMU shall read.
    const rest = await readExactly(file, start - fixedBytes)
    if (!rest) throw bad(path, 'is not whole')
    return { machine: parseMachine(path, rest.toString('utf8', 0, length)), file, sizeBytes }
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Which save a file is of; undefined when there is no whole one. */
export async function identifySavedState(path: string): Promise<string | undefined> {
  try {
    const { machine, file } = await openSavedState(path)
    await file.close()
    return machine.id
  } catch {
    return undefined
  }
}

function parseMachine(path: string, text: string): SavedMachine {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new VisorError('failed', `The saved state '${path}' has a broken head.`, { cause })
  }
  const { id, savedAt, emulatorVersion, paused, definition } = isRecord(value) ? value : {}
  const parsed = parse(DomainDefinition, definition)
  if (typeof id !== 'string' || typeof savedAt !== 'string' || parsed.uuid === undefined)
    throw bad(path, 'has a broken head')
  return {
    id,
    savedAt,
    emulatorVersion: String(emulatorVersion),
    paused: paused === true,
    definition: { ...parsed, uuid: parsed.uuid },
  }
}

export interface StateWriter {
  /** Resolves with the bytes QEMU wrote, when it has closed its end. */
  readonly received: Promise<number>
  readonly bytes: number
  /** All is there: makes the file whole, durable and gives it its name. */
  commit(): Promise<void>
  /** Removes what was written. Harmless after `commit`. */
  discard(): Promise<void>
}

/** Listens on a socket for QEMU's part, and writes it with `machine` in front to `partial`, which `commit` renames to `path`. */
export async function receiveState(
  path: string,
  partial: string,
  socket: { readonly path: string; readonly user: GuestUser | undefined },
  machine: SavedMachine,
): Promise<StateWriter> {
  const json = Buffer.from(JSON.stringify(machine))
  const start = bodyStart(json.length)
  const file = await open(partial, 'wx', 0o600).catch((cause) => {
    throw cannotOpen(partial, cause, 'saved state')
  })
  let bytes = 0
  let finished = false
  const received = Promise.withResolvers<number>()
  received.promise.catch(() => {})
  const server = createServer((connected) => {
    server.close()
    write(connected).then(received.resolve, received.reject)
  })

  async function write(connected: Socket): Promise<number> {
    for await (const chunk of connected as AsyncIterable<Buffer>) {
      try {
        await writeAll(file, chunk, start + bytes)
      } catch (error) {
        // Told before the connection ends, which is what QEMU fails with then.
        received.reject(error)
        throw error
      }
      bytes += chunk.length
    }
    return bytes
  }

  async function discard(): Promise<void> {
    if (finished) return
    finished = true
    server.close()
    received.reject(new VisorError('cancelled', 'The save was given up.'))
    await rm(socket.path, { force: true })
    await file.close().catch(() => {})
    await rm(partial, { force: true })
  }

  try {
    await writeAll(file, header(json, 0), 0)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(socket.path, resolve)
    })
    // It stands where only we can put something in its place.
    if (socket.user) await chown(socket.path, socket.user.uid, socket.user.gid)
  } catch (error) {
    await discard()
    throw error
  }
  return {
    received: received.promise,
    get bytes() {
      return bytes
    },
    discard,
    async commit() {
      await file.sync()
      await writeAll(file, header(json, bytes), 0)
      await file.sync()
      await file.close()
      await rename(partial, path)
      finished = true
      await syncDirectory(dirname(path))
    },
  }
}

function header(json: Buffer, sizeBytes: number): Buffer {
  const head = Buffer.alloc(bodyStart(json.length))
  head.write(magic, 'latin1')
  head.writeUInt32LE(layout, 8)
  head.writeUInt32LE(json.length, 12)
  head.writeBigUInt64LE(BigInt(sizeBytes), 16)
  json.copy(head, fixedBytes)
  return head
}

const bodyStart = (length: number): number => Math.ceil((fixedBytes + length) / alignment) * alignment

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
}

/** The next bytes, from where the file stands. */
async function readExactly(file: FileHandle, length: number): Promise<Buffer | undefined> {
  const buffer = Buffer.alloc(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(buffer, done, length - done, null)
    if (bytesRead === 0) return undefined
    done += bytesRead
  }
  return buffer
}

function bad(path: string, what: string): VisorError {
  return new VisorError('failed', `The file '${path}' ${what}.`)
}
