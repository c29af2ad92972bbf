/** Uploads to the pools of this host. */
import { open } from 'node:fs/promises'
import type { CallOptions, Content, CreateUploadOptions, Log, Uploads } from '../../driver/index.ts'
import { errorNumber, hashFile, writeParts } from '../../host/index.ts'
import { notFound, type Upload, VisorError, type Volume } from '../../model/index.ts'
import { oneAtATime } from '../one-at-a-time.ts'
import type { LivePool, OpenedPools } from '../pools/open-pools.ts'
import type { Receiving } from '../volumes/store.ts'
import {
  type PartialFile,
  partialIds,
  partialPath,
  readPartial,
  removePartial,
  writePartial,
} from './partial-file.ts'

const dayMs = 86_400_000
const sweepMs = 3_600_000
/** Of what came: it does not become right by trying again. */
const wrong: readonly string[] = ['invalid-argument', 'unsupported-config', 'denied', 'failed']
const mostUploads = 256
const progressBytes = 2 ** 24
const idShape = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/u

export interface UploadsOptions {
  readonly pools: OpenedPools
  readonly log: Log
  /** Makes what has come a volume of the pool. */
  finish(there: LivePool, name: string, accept: () => Promise<void>): Promise<Volume>
}

export interface OpenedUploads extends Uploads {
  close(): void
}

/** What is known of one while bytes of it come. */
interface Arriving {
  readonly abort: AbortController
  readonly ended: Promise<void>
}

export function openUploads({ pools, log, finish }: UploadsOptions): OpenedUploads {
  const arriving = new Map<string, Arriving>()
  /** Uploads that become the same volume begin one after another; each is finished once. */
  const alone = oneAtATime()

  async function receivingOf(pool: string): Promise<{ there: LivePool; receiving: Receiving }> {
    const there = await pools.use(pool)
    const { receiving } = there.backend.volumes
    if (!receiving)
      throw new VisorError(
        'unsupported',
        `Nothing can be uploaded to the pool '${there.name}': its type cannot.`,
        {
          object: { kind: 'pool', name: there.name },
        },
      )
    return { there, receiving }
  }

  async function find(pool: string, id: string) {
    const { there, receiving } = await receivingOf(pool)
    const found = idShape.test(id) ? await readPartial(receiving.folder, id) : undefined
    if (!found) throw notFound('upload', id)
    return { there, receiving, found }
  }

  /** Breaks off what is under way; resolves when it has ended. */
  async function interrupt(id: string): Promise<void> {
    const before = arriving.get(id)
    before?.abort.abort()
    await before?.ended
  }

  async function discard({ folder }: Receiving, id: string): Promise<void> {
    await interrupt(id)
    await removePartial(folder, id)
  }

  /** All that are to be had; those that are too old, or of no use, go. */
  async function sweep({
    there,
    receiving,
  }: {
    there: LivePool
    receiving: Receiving
  }): Promise<PartialFile[]> {
    const kept: PartialFile[] = []
    for (const id of await partialIds(receiving.folder)) {
      const found = await readPartial(receiving.folder, id)
      if (found && (arriving.has(id) || Date.now() - found.changedAt < dayMs)) kept.push(found)
      else if (!alone.isBusy(`new ${there.uuid}`)) {
        await removePartial(receiving.folder, id)
        log.info({ pool: there.name, upload: id }, 'An upload that nobody went on with was removed.')
      }
    }
    return kept
  }

  const timer = setInterval(() => {
    for (const there of pools.live()) {
      const { receiving } = there.backend.volumes
      if (receiving)
        sweep({ there, receiving }).catch((error) =>
          log.warn({ pool: there.name, error }, 'Old uploads could not be removed.'),
        )
    }
  }, sweepMs).unref()

  async function create(
    there: LivePool,
    receiving: Receiving,
    options: CreateUploadOptions,
  ): Promise<Upload> {
    const { allocationBytes, signal: _, progress: __, onJob: ___, ...wanted } = options
    const { volume, replace = false, sizeBytes } = wanted
    const uploads = await sweep({ there, receiving })
    const same = uploads.find(({ record }) => wanted.source !== undefined && isSame(record, wanted))
    await receiving.check({ name: volume, format: wanted.format, replace })
    await refuseLarge(there, (allocationBytes ?? sizeBytes ?? 0) - (same?.offset ?? 0))
    if (same) return describe(there, same)
    if (uploads.length >= mostUploads)
      throw new VisorError(
        'busy',
        `There are ${uploads.length} uploads to the pool '${there.name}' already.`,
        {
          remedy: 'Finish them, or give them up: visor volume uploads --remove.',
        },
      )
    const id = crypto.randomUUID()
    await writePartial(receiving.folder, id, { ...wanted, createdAt: new Date().toISOString() })
    await receiving.prepare(partialPath(receiving.folder, id))
    const made = await readPartial(receiving.folder, id)
    if (!made) throw notFound('upload', id)
    return describe(there, made)
  }

  async function append(
    { there, receiving, found }: Awaited<ReturnType<typeof find>>,
    content: Content,
    { offset, signal, progress }: { readonly offset: number } & CallOptions,
  ): Promise<void> {
    const { id, path, record } = found
    const { sizeBytes } = record
    const file = await open(path, 'r+')
    let told = offset
    try {
      await writeParts(file, content, {
        offset,
        end: sizeBytes ?? Number.MAX_SAFE_INTEGER,
        signal,
        findsHoles: true,
        // Beyond its end there is nothing yet.
        makeHole: (at, length) => file.truncate(at + length),
        onWritten(done) {
          if (done - told < progressBytes && done !== sizeBytes) return
          told = done
          progress?.({
            phase: 'receiving',
            done,
            ...(sizeBytes !== undefined && { total: sizeBytes }),
            unit: 'bytes',
          })
        },
      })
    } catch (error) {
      if (!['ENOSPC', 'EDQUOT', 'EFBIG'].includes(errorNumber(error) ?? '')) throw error
      await removePartial(receiving.folder, id)
      throw new VisorError('failed', `The pool '${there.name}' is full: the upload was given up.`, {
        cause: error,
        object: { kind: 'pool', name: there.name },
        remedy: 'Make room in the pool, or choose another one.',
      })
    } finally {
      await file.close()
    }
  }

  /** Fails, and removes it, when it is not what was said. */
  async function check({ receiving, found }: Awaited<ReturnType<typeof find>>, options: CallOptions) {
    const { id, path, record, offset } = found
    if (record.sha256 === undefined) return
    options.progress?.({ phase: 'verifying' })
    const sha256 = await hashFile(path, options.signal)
    if (sha256 === record.sha256) return
    await removePartial(receiving.folder, id)
    throw new VisorError(
      'invalid-argument',
      `What came has the SHA-256 ${sha256}, not ${record.sha256}: the upload of ${offset} bytes was given up.`,
      { remedy: 'Send it again; see that the file and its checksum belong together.' },
    )
  }

  return {
    async list(pool) {
      const at = await receivingOf(pool)
      return (await sweep(at)).map((found) => describe(at.there, found))
    },
    async get(pool, upload) {
      const { there, found } = await find(pool, upload)
      return describe(there, found)
    },
    async create(pool, options) {
      const { there, receiving } = await receivingOf(pool)
      return alone(`new ${there.uuid}`, () => create(there, receiving, options))
    },
    async append(pool, upload, content, { offset, signal, ...call }) {
      const { there } = await find(pool, upload)
      await interrupt(upload)
      const at = await find(pool, upload)
      if (at.found.offset !== offset)
        throw new VisorError('conflict', `The upload goes on at ${at.found.offset}, not at ${offset}.`, {
          path: 'offset',
          object: { kind: 'upload', name: upload },
          remedy: 'Ask how far it came, and go on from there.',
        })
      if (arriving.has(upload)) throw busy(upload)
      const abort = new AbortController()
      const { promise: ended, resolve: end } = Promise.withResolvers<void>()
      arriving.set(upload, { abort, ended })
      const given = AbortSignal.any([abort.signal, ...(signal ? [signal] : [])])
      try {
        await pools.within(there.uuid, () => append(at, content, { ...call, offset, signal: given }))
      } finally {
        arriving.delete(upload)
        end()
      }
      return describe(there, (await find(pool, upload)).found)
    },
    async finish(pool, upload, call = {}) {
      await find(pool, upload)
      return alone(`finish ${upload}`, async () => {
        if (arriving.has(upload)) throw busy(upload)
        const at = await find(pool, upload)
        const { there, receiving, found } = at
        const { volume, sizeBytes, format, replace = false } = found.record
        if (sizeBytes !== undefined && found.offset !== sizeBytes)
          throw new VisorError('invalid-state', `The upload has ${found.offset} of ${sizeBytes} bytes.`, {
            object: { kind: 'upload', name: upload },
            remedy: 'Send the rest first.',
          })
        return pools
          .within(there.uuid, async () => {
            await check(at, call)
            try {
              return await finish(there, volume, () =>
                receiving.accept(found.path, { name: volume, format, replace }),
              )
            } catch (error) {
              // What is wrong with it does not become right; what is in its way may go.
              if (error instanceof VisorError && wrong.includes(error.code))
                await removePartial(receiving.folder, upload)
              throw error
            }
          })
          .finally(() => sweepRecord(receiving, upload))
      })
    },
    async remove(pool, upload) {
      const { receiving } = await find(pool, upload)
      await discard(receiving, upload)
    },
    close: () => clearInterval(timer),
  }

  /** When its bytes have become a volume, nothing is left to say of them. */
  async function sweepRecord({ folder }: Receiving, id: string): Promise<void> {
    if (!(await readPartial(folder, id))) await removePartial(folder, id)
  }
}

const compared = ['volume', 'sizeBytes', 'format', 'sha256', 'source'] as const

const isSame = (record: PartialFile['record'], wanted: CreateUploadOptions): boolean =>
  compared.every((field) => record[field] === wanted[field]) &&
  (record.replace ?? false) === (wanted.replace ?? false)

function describe({ name }: LivePool, { id, record, offset, changedAt }: PartialFile): Upload {
  const { bootId: _, ...said } = record
  return { id, pool: name, ...said, offset, expiresAt: new Date(changedAt + dayMs).toISOString() }
}

async function refuseLarge({ name, backend }: LivePool, bytes: number): Promise<void> {
  const { availableBytes } = await backend.usage()
  if (bytes > availableBytes)
    throw new VisorError(
      'failed',
      `The pool '${name}' has room for ${availableBytes} bytes; the upload needs ${bytes} more.`,
      { object: { kind: 'pool', name }, remedy: 'Make room in the pool, or choose another one.' },
    )
}

function busy(upload: string): VisorError {
  return new VisorError('busy', `Bytes of the upload '${upload}' are on their way.`, {
    object: { kind: 'upload', name: upload },
    remedy: 'Wait for their end.',
  })
}
