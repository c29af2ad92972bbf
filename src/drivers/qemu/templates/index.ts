/** Templates of this driver, their clones and their pools. */
import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { CallOptions, CloneTemplateOptions, EventHub, Templates } from '../../../driver/index.ts'
import { listDirectory } from '../../../host/index.ts'
import { type Domain, type Template, VisorError } from '../../../model/index.ts'
import { type DiskWork, settle } from '../block/disk-work.ts'
import type { Context } from '../context.ts'
import { readDiskImage } from '../disks/disk-image.ts'
import { saveWhole } from '../machine/launch.ts'
import type { Machine } from '../machine/machine.ts'
import { refuseUnmovable } from '../machine/unmovable.ts'
import type { Registry } from '../registry.ts'
import { capture } from './capture.ts'
import { checkClonable } from './check-clonable.ts'
import { cloneDefinition } from './clone-definition.ts'
import { connectListener } from './listener.ts'
import { chooseNames } from './names.ts'
import { announceOverlays, joinOverlays } from './own-overlays.ts'
import { end, openPools, removeOwnFiles } from './pool.ts'
import {
  describeTemplate,
  openTemplateRecords,
  removeTemplateFiles,
  type TemplateRecord,
  templateFiles,
} from './record.ts'
import { cloneMark, makeSpare, type Spare, wake, warmUp } from './spare.ts'

const inOrder = new Intl.Collator('en', { numeric: true })

/** Clones that are made at a time by one call. */
const atOnce = 4

export interface TemplatesOptions {
  readonly context: Context
  readonly registry: Registry
  readonly hub: EventHub
  readonly work: DiskWork
}

export interface OpenTemplates {
  readonly templates: Required<Templates>
  close(): Promise<void>
}

/** Opens them: what a daemon before left half done is finished or removed. */
export async function openTemplates({
  context,
  registry,
  hub,
  work,
}: TemplatesOptions): Promise<OpenTemplates> {
  const { paths, log } = context
  const records = await openTemplateRecords(context.store)
  /** Clones being made, by template. */
  const making = new Map<string, number>()
  const reserved = new Set<string>()
  const filesOf = ({ id }: TemplateRecord) => templateFiles(paths.templates, id)

  const pools = openPools({
    context,
    templates: records.all,
    busy: () => making.size > 0,
    async make(record) {
      const uuid = randomUUID()
      const name = `${record.name}-${uuid.slice(0, 8)}`
      const spare = await makeSpare(context, registry, {
        ...{ record, files: filesOf(record), uuid, name },
        role: 'spare',
      })
      return warmUp(record, spare).catch(async (error: unknown) => {
        await end(context, spare)
        throw error
      })
    },
  })

  function tell(type: string, name: string): void {
    hub.emit({ kind: 'template', type, name, driver: 'qemu' })
  }

  /** No machine writes to a disk that a template keeps still. */
  async function freeze(): Promise<void> {
    const frozen = new Map<string, string>()
    for (const { name, disks, phase } of records.all())
      for (const { file, format } of phase === 'ready' ? disks : []) {
        frozen.set(file, name)
        // What it is based on in turn; one that cannot be read is refused when it is cloned.
        let image = await readDiskImage(file, format).catch(() => undefined)
        for (; image; image = image.backing) frozen.set(image.path, frozen.get(image.path) ?? name)
      }
    context.frozen.clear()
    for (const [file, name] of frozen) context.frozen.set(file, name)
  }

  function clonesOf({ id }: TemplateRecord): string[] {
    return [...registry.clones].flatMap(([uuid, template]) => (template === id ? [uuid] : []))
  }

  async function describe(record: TemplateRecord): Promise<Template> {
    const { memory, state } = filesOf(record)
    const sizes = await Promise.all(
      [memory, state].map((path) =>
        stat(path).then(
          ({ blocks }) => blocks * 512,
          () => 0,
        ),
      ),
    )
    return describeTemplate(record, {
      ready: pools.ready(record.id),
      clones: clonesOf(record),
      sizeBytes: sizes.reduce((sum, size) => sum + size, 0),
    })
  }

  async function create(name: string, { domain, signal, progress }: { domain: string } & CallOptions) {
    checkName(name)
    const source = registry.running(domain, ['running'])
    const { definition } = source.details
    checkClonable(definition)
    await refuseUnmovable(source, 'made a template')
    // Reverting or removing one would change files that the clones are based on.
    if (work.trees.get(definition.uuid).snapshots.length > 0)
      throw new VisorError('invalid-state', `Domain '${definition.name}' has snapshots.`, {
        object: { kind: 'domain', name: definition.name },
        remedy: 'Remove them first; a template keeps the disks below it as they are.',
      })
    if (records.find(name))
      throw new VisorError('already-exists', `There is already a template '${name}'.`, {
        object: { kind: 'template', name },
        remedy: 'Choose another name, or remove that one first.',
      })
    const id = randomUUID()
    const files = templateFiles(paths.templates, id)
    const record: TemplateRecord = {
      ...{ id, name, phase: 'creating', createdAt: new Date().toISOString(), domain: definition.name },
      ...{ definition, disks: [], pinned: false, pool: 0 },
    }
    await work.exclusively(definition.uuid, 'a template', async () => {
      await records.put(record)
      try {
        await mkdir(files.directory, { recursive: true, mode: 0o700 })
        await announceOverlays(work, source, name)
        const captured = await capture(context, registry, source, {
          ...{ name, files },
          ...(signal ? { signal } : {}),
          ...(progress ? { progress } : {}),
        })
        await settle(work, definition.uuid)
        await records.put({ ...record, ...captured, phase: 'ready' })
      } catch (error) {
        await removeTemplateFiles(files)
        await records.remove(id)
        await settle(work, definition.uuid)
        await joinOverlays(work, definition.uuid)
        if (!signal?.aborted) throw error
        throw new VisorError('cancelled', `Making the template '${name}' was cancelled.`, { cause: error })
      }
      await freeze()
    })
    tell('created', name)
    return describe(records.get(name))
  }

  /** One clone, as a domain that runs. */
  async function cloneOne(
    record: TemplateRecord,
    name: string,
    options: CloneTemplateOptions,
  ): Promise<Domain> {
    const { paused = false, signal } = options
    const spare =
      pools.take(record.id) ??
      (await makeSpare(context, registry, {
        ...{ record, files: filesOf(record), uuid: randomUUID(), name, signal },
        role: 'clone',
      }))
    const { machine } = spare
    const { uuid } = machine.details.definition
    try {
      const { settled } = await become(record, spare, name)
      if (paused) {
        await settled
        await machine.monitor.execute('stop')
      }
      if (signal?.aborted) throw new VisorError('cancelled', `The clone '${name}' was cancelled.`)
      return registry.domain(uuid)
    } catch (error) {
      await undoClone(machine)
      throw error
    }
  }

  /** Makes a domain of a copy and lets it run; `settled` resolves when the guest has all of its identity. */
  async function become(
    record: TemplateRecord,
    spare: Spare,
    name: string,
  ): Promise<{ settled: Promise<void> }> {
    const { machine } = spare
    const { uuid } = machine.details.definition
    const directory = paths.of(uuid).clone
    const definition = cloneDefinition(record.definition, record.disks, { uuid, name, directory })
    // One that was made to be this clone has been recorded as such from the beginning.
    if (!spare.told) {
      await machine.record({
        ...{ definition, id: registry.nextId(), startedAt: new Date().toISOString() },
        template: { id: record.id, role: 'clone', pending: true },
        paused: false,
      })
      machine.setState({ state: 'running', reason: 'restored' })
    }
    const defined = registry.defined.put({ definition, autostart: false })
    registry.clones.set(uuid, record.id)
    registry.tell(uuid, { type: 'defined', reason: 'cloned' })
    registry.admit(uuid, machine, { type: 'started', reason: 'cloned' })
    const [{ settled }] = await Promise.all([wake(record, spare), defined])
    return { settled: whenSettled(record, machine, settled) }
  }

  function whenSettled(record: TemplateRecord, machine: Machine, settled: Promise<void>): Promise<void> {
    return settled
      .then(() => machine.record({ template: { id: record.id, role: 'clone' } }))
      .catch((error: unknown) => {
        const { name } = machine.details.definition
        if (registry.machine(machine.details.definition.uuid) === machine)
          log.warn({ domain: name, error: String(error) }, 'A clone could not be given its addresses.')
      })
  }

  async function undoClone(machine: Machine): Promise<void> {
    const { uuid, name } = machine.details.definition
    await machine.kill('failed')
    if (registry.defined.find(uuid)) {
      await registry.defined.remove(uuid)
      registry.tell(uuid, { type: 'undefined' }, name)
    }
    registry.forget(uuid)
    await removeOwnFiles(context, machine)
  }

  async function clone(template: string, options: CloneTemplateOptions = {}): Promise<Domain[]> {
    const { count = 1, name, progress, signal } = options
    const record = records.get(template)
    const taken = (wanted: string) =>
      reserved.has(wanted) || registry.defined.findByName(wanted) !== undefined
    const names = chooseNames({ template, count, name, taken })
    for (const one of names) reserved.add(one)
    making.set(record.id, (making.get(record.id) ?? 0) + 1)
    const made: Domain[] = []
    const failures: unknown[] = []
    const waiting = [...names]
    const worker = async () => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        if (signal?.aborted) throw new VisorError('cancelled', 'Cloning was cancelled.')
        made.push(await cloneOne(record, next, options))
        progress?.({ phase: 'cloning', done: made.length, total: count, unit: 'steps' })
      }
    }
    try {
      await Promise.all(
        Array.from({ length: Math.min(atOnce, count) }, () =>
          worker().catch((error: unknown) => {
            waiting.length = 0
            failures.push(error)
          }),
        ),
      )
      if (failures.length > 0) {
        await Promise.all(made.map(({ uuid }) => registry.machine(uuid)).map((one) => one && undoClone(one)))
        throw failures[0]
      }
      return made.sort((a, b) => names.indexOf(a.name) - names.indexOf(b.name))
    } finally {
      for (const one of names) reserved.delete(one)
      const left = (making.get(record.id) ?? 1) - 1
      if (left === 0) making.delete(record.id)
      else making.set(record.id, left)
      pools.fill()
    }
  }

  async function remove(name: string): Promise<void> {
    const record = records.get(name)
    const object = { kind: 'template', name }
    if (record.pinned)
      throw new VisorError('invalid-state', `The template '${name}' is pinned.`, {
        ...{ object, remedy: `Unpin it first: 'visor template unpin ${name}'.` },
      })
    if (making.has(record.id))
      throw new VisorError('busy', `Clones of the template '${name}' are being made.`, { object })
    const clones = clonesOf(record)
      .map((uuid) => `'${registry.definition(uuid).name}'`)
      .sort(inOrder.compare)
    if (clones.length > 0)
      throw new VisorError(
        'invalid-state',
        `The template '${name}' has ${clones.length === 1 ? 'a clone' : `${clones.length} clones`}: ${clones.slice(0, 5).join(', ')}${clones.length > 5 ? ' ...' : ''}.`,
        {
          ...{
            object,
            remedy: "'visor destroy' and 'visor undefine' them first: they run on what it keeps.",
          },
        },
      )
    await records.remove(record.id)
    await freeze()
    await pools.drain(record.id)
    await removeTemplateFiles(filesOf(record))
    const { uuid } = record.definition
    if (registry.defined.find(uuid))
      await work
        .exclusively(uuid, 'the removal of a template', () => joinOverlays(work, uuid))
        // Others work on the disks: it is done with the next template or snapshot that is removed.
        .catch((error: unknown) =>
          log.info({ template: name, reason: String(error) }, 'Overlays stay for now.'),
        )
    tell('removed', name)
  }

  async function change(name: string, fields: Pick<Partial<TemplateRecord>, 'pool' | 'pinned'>) {
    const record = { ...records.get(name), ...fields }
    await records.put(record)
    await pools.drain(record.id, record.pool)
    pools.fill()
    tell('changed', name)
    return describe(record)
  }

  /** Finishes or removes what a daemon before was at. */
  async function adopt(): Promise<void> {
    await Promise.all(
      [paths.templates, paths.clones].map((path) => mkdir(path, { recursive: true, mode: 0o700 })),
    )
    for (const record of records.all()) if (record.phase !== 'ready') await records.remove(record.id)
    for (const id of await listDirectory(paths.templates))
      if (!records.findById(id)) await removeTemplateFiles(templateFiles(paths.templates, id))
    for (const machine of registry.takeSpares()) await adoptSpare(machine)
    for (const uuid of await listDirectory(paths.clones)) {
      const directory = join(paths.clones, uuid)
      const id = await readFile(join(directory, cloneMark), 'utf8').catch(() => '')
      if (registry.defined.find(uuid)) registry.clones.set(uuid, id.trim())
      else if (!pooled.has(uuid)) await rm(directory, { recursive: true, force: true })
    }
    for (const [, machine] of registry.machines())
      if (machine.details.template?.pending) await finish(machine)
    await freeze()
    pools.fill()
  }

  const pooled = new Set<string>()
  async function adoptSpare(machine: Machine): Promise<void> {
    const record = records.findById(machine.details.template?.id ?? '')
    const { definition } = machine.details
    await saveWhole(machine.monitor).catch(() => {})
    const hook = record && (await hookOf(machine, record))
    const spare = { machine, hook, warm: false }
    if (!record || pools.ready(record.id) >= record.pool || (record.identity !== undefined && !hook))
      return end(context, spare)
    pooled.add(definition.uuid)
    pools.add(record.id, spare)
  }

  const hookOf = (machine: Machine, { identity }: TemplateRecord) =>
    connectListener(context, machine, identity).catch(() => undefined)

  async function finish(machine: Machine): Promise<void> {
    const { template, definition } = machine.details
    const record = records.findById(template?.id ?? '')
    if (!record) return
    machine.setState({ state: 'running', reason: 'restored' })
    await saveWhole(machine.monitor).catch(() => {})
    const spare = { machine, hook: await hookOf(machine, record), warm: false }
    await wake(record, spare)
      .then(({ settled }) => whenSettled(record, machine, settled))
      .catch((error: unknown) =>
        log.warn({ domain: definition.name, error: String(error) }, 'A clone could not be told who it is.'),
      )
  }

  await adopt()
  return {
    templates: {
      list: () =>
        Promise.all(
          records
            .all()
            .filter(({ phase }) => phase === 'ready')
            .map(describe),
        ),
      get: async (name) => describe(records.get(name)),
      create,
      clone,
      remove,
      setPool: (name, { size }) => change(name, { pool: size }),
      setPinned: (name, { pinned }) => change(name, { pinned }),
    },
    close: () => pools.close(),
  }
}

function checkName(name: string): void {
  if (/^[a-z0-9][\w.-]{0,99}$/iu.test(name)) return
  throw new VisorError('invalid-argument', `'${name.slice(0, 120)}' is no name for a template.`, {
    remedy: "Use up to 100 letters, digits, '.', '-' and '_', beginning with a letter or digit.",
  })
}
