/**
 * Copies of machines that are off.
 *
 * What will be made is recorded first. Files are made under names of their own; when all are there they get
 * theirs, and the machine is defined. A daemon that finds a record without a machine removes what there is:
 *
 *     record -> .new-1, .new-2 -> variables, TPM -> names -> defined -> record gone (kept for linked ones)
 */
import { randomUUID } from 'node:crypto'
import { cp, link, mkdir, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { CallOptions, CloneDomainOptions, Domains } from '../../../driver/index.ts'
import { syncDirectory, type Undo, unlessMissing, withUndo } from '../../../host/index.ts'
import { type Domain, VisorError } from '../../../model/index.ts'
import type { DiskWork } from '../block/disk-work.ts'
import { convertFile } from '../block/image-files.ts'
import { hasVariables, variablesFile, variablesFormat } from '../board/firmware.ts'
import type { Context } from '../context.ts'
import { type CompleteDefinition, completeDefinition } from '../definition/definition.ts'
import type { Registry } from '../registry.ts'
import { copyDisk, type DiskCopy, planCopies } from './clone-disks.ts'
import { checkHostSides, copyDefinition } from './copy-definition.ts'

const prefix = 'qemu/clone/'
const progressIntervalMs = 250

interface CloneRecord {
  readonly files: readonly { readonly partial: string; readonly path: string }[]
  /** What a linked copy is based on. */
  readonly bases: readonly string[]
}

export function cloning(work: DiskWork): Required<Pick<Domains, 'clone'>> {
  const { registry } = work
  return {
    async clone(uuid, options) {
      const { name } = registry.definition(uuid)
      const machine = registry.machine(uuid)
      if (machine)
        throw new VisorError('invalid-state', `Domain '${name}' is ${machine.state.state}, not shutoff.`, {
          object: { kind: 'domain', name },
          remedy: `Shut it down first: 'visor stop ${name}'. Copies of one that runs are made of a template: 'visor template create ${name}'.`,
        })
      return work.exclusively(uuid, 'the making of a copy', () => clone(work, uuid, options))
    },
  }
}

async function clone(
  { context, registry }: DiskWork,
  sourceUuid: string,
  { name, linked = false, ...call }: CloneDomainOptions,
): Promise<Domain> {
  const { store, paths, log } = context
  const source = registry.definition(sourceUuid)
  if (registry.defined.findByName(name))
    throw new VisorError('already-exists', `There is already a domain '${name}'.`, {
      object: { kind: 'domain', name },
      remedy: 'Choose another name, or undefine that one first.',
    })
  checkHostSides(source)
  const uuid = randomUUID()
  const copies = await planCopies(context, source, { uuid, name, linked })
  const wanted = copyDefinition(source, { uuid, name }, copies)
  const definition = await completeDefinition(structuredClone(wanted), context)
  const key = `${prefix}${uuid}`
  const files = copies.map(({ partial, to }) => ({ partial, path: to.path }))
  const bases = linked ? copies.flatMap(({ chain }) => chain) : []
  await withUndo(
    async (undo) => {
      undo.push(() => store.write([{ key, value: undefined }]))
      await store.write([{ key, value: { files, bases } satisfies CloneRecord }])
      for (const { partial } of files) undo.push(() => rm(partial, { force: true }))
      await copyDisks(copies, linked, call)
      const own = paths.of(uuid)
      undo.push(() => removeState(context, uuid))
      await copyState({ source, definition }, { from: paths.of(sourceUuid), to: own })
      await giveNames(files, undo)
      if (call.signal?.aborted) throw new VisorError('cancelled', `The copy '${name}' was given up.`)
      if (linked) context.linked.set(uuid, bases)
      undo.push(() => context.linked.delete(uuid))
      await registry.defined.put({ definition, autostart: false })
    },
    (error) => log.warn({ domain: name, error: String(error) }, 'A part of a copy could not be removed.'),
  ).catch((error: unknown) => {
    if (!call.signal?.aborted) throw error
    throw new VisorError('cancelled', `The copy '${name}' was given up.`, { cause: error })
  })
  await finish(context, key, { files, bases }).catch((error: unknown) =>
    log.warn({ domain: name, error: String(error) }, 'The making of a copy could not be tidied up.'),
  )
  registry.tell(uuid, { type: 'defined', reason: 'cloned' })
  return registry.domain(uuid)
}

/** One after the other: they are mostly on one disk of the host. */
async function copyDisks(copies: readonly DiskCopy[], linked: boolean, call: CallOptions): Promise<void> {
  const total = copies.reduce((sum, { allocatedBytes }) => sum + allocatedBytes, 0)
  let before = 0
  for (const copy of copies) {
    await mkdir(dirname(copy.partial), { recursive: true, mode: 0o700 })
    const tell = async () => {
      const made = await unlessMissing(stat(copy.partial))
      const done = Math.min(total, before + Math.min((made?.blocks ?? 0) * 512, copy.allocatedBytes))
      call.progress?.({ phase: `copying ${copy.target}`, done, total, unit: 'bytes' })
    }
    await tell()
    const timer = setInterval(() => void tell().catch(() => {}), progressIntervalMs)
    try {
      await copyDisk(copy, linked, call)
    } finally {
      clearInterval(timer)
    }
    before += copy.allocatedBytes
  }
}

interface Pair<T> {
  readonly from: T
  readonly to: T
}
type Paths = ReturnType<Context['paths']['of']>

/** Variables of the firmware and the state of the module; what was never made is made by the first start. */
async function copyState(
  { source, definition }: { readonly source: CompleteDefinition; readonly definition: CompleteDefinition },
  { from, to }: Pair<Paths>,
): Promise<void> {
  if (hasVariables(source)) {
    const path = variablesFile(source, from)
    if (await unlessMissing(stat(path))) {
      const target = variablesFile(definition, to)
      await mkdir(dirname(target), { recursive: true, mode: 0o700 })
      if (variablesFormat(source) === 'qcow2') await cp(path, target)
      // All of it has its place from the start, as in the one that visor makes.
      else await convertFile({ path, format: 'raw' }, target, { to: 'qcow2', whole: true })
    }
  }
  if (source.devices.tpms.some(({ backend }) => backend === 'emulator'))
    await unlessMissing(cp(from.tpm, to.tpm, { recursive: true, preserveTimestamps: true }))
}

async function removeState({ paths }: Context, uuid: string): Promise<void> {
  const { nvram, tpm, clone: disks } = paths.of(uuid)
  for (const path of [nvram, tpm, disks]) await rm(path, { recursive: true, force: true })
}

/** A link never replaces a file there is, as a rename would. */
async function giveNames(files: CloneRecord['files'], undo: Undo): Promise<void> {
  for (const { partial, path } of files) {
    await link(partial, path).catch((cause: NodeJS.ErrnoException) => {
      throw cause.code === 'EEXIST'
        ? new VisorError('already-exists', `There is already a file '${path}'.`, {
            cause,
            remedy: 'Move or remove it, or choose another name for the machine.',
          })
        : new VisorError('failed', `The disk '${path}' cannot be made: ${cause.message}.`, { cause })
    })
    undo.push(() => rm(path, { force: true }))
  }
  for (const directory of new Set(files.map(({ path }) => dirname(path)))) await syncDirectory(directory)
}

/** The record goes, but for what a linked copy is based on. */
async function finish({ store }: Context, key: string, { files, bases }: CloneRecord): Promise<void> {
  for (const { partial } of files) await rm(partial, { force: true })
  await store.write([
    { key, value: bases.length > 0 ? ({ files: [], bases } satisfies CloneRecord) : undefined },
  ])
}

/** Finishes or removes what a daemon before was at, and finds what linked copies are based on. */
export async function settleClones(context: Context, registry: Registry): Promise<void> {
  for (const { key, value } of await context.store.list(prefix)) {
    const uuid = key.slice(prefix.length)
    const record = value as CloneRecord
    if (registry.defined.find(uuid)) {
      if (record.bases.length > 0) context.linked.set(uuid, record.bases)
      await finish(context, key, record)
      continue
    }
    for (const { partial, path } of record.files) {
      const [made, named] = await Promise.all([partial, path].map((one) => unlessMissing(stat(one))))
      if (made && named && made.ino === named.ino && made.dev === named.dev) await rm(path, { force: true })
      await rm(partial, { force: true })
    }
    // A linked one that was undefined has nothing here any more.
    if (record.files.length > 0) await removeState(context, uuid)
    await context.store.write([{ key, value: undefined }])
  }
}
