/** A copy of a template as a process: loaded and still, with disks and addresses of its own, but not a domain yet. */
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createOverlay, withUndo } from '../../../host/index.ts'
import type { Context } from '../context.ts'
import type { CompleteDefinition } from '../definition/definition.ts'
import { launch } from '../machine/launch.ts'
import type { Machine } from '../machine/machine.ts'
import type { Registry } from '../registry.ts'
import { restoreFirmware } from '../snapshots/firmware-state.ts'
import { cloneDefinition, overlayName } from './clone-definition.ts'
import type { GuestHook } from './guest-hook.ts'
import { identityLines, nameLines, setLinks, tellIdentity } from './identity.ts'
import { connectListener } from './listener.ts'
import { openTemplateState, type TemplateFiles, type TemplateRecord } from './record.ts'

export interface Spare {
  readonly machine: Machine
  readonly hook: GuestHook | undefined
  /** It has run already, and knows all of its identity but its name. */
  readonly warm: boolean
  /** It runs, and this resolves when it knows who it is. */
  readonly told?: Promise<void>
}

export interface MakeSpare {
  readonly record: TemplateRecord
  readonly files: TemplateFiles
  readonly uuid: string
  readonly name: string
  readonly role: 'spare' | 'clone'
  readonly signal?: AbortSignal | undefined
}

/** Written beside the disks of a clone: whose they are. */
export const cloneMark = 'template'

/**
 * Starts a QEMU that has the template's state. Its processors have not run, unless it is a clone that disturbs
 * nobody on the network: that one runs the moment its state is read. Fails as {@link launch} does, or with
 * `failed` for a damaged template; nothing of it is left then.
 */
export function makeSpare(context: Context, registry: Registry, options: MakeSpare): Promise<Spare> {
  const { record, files, uuid, name, role, signal } = options
  const before = record.definition
  const paths = context.paths.of(uuid)
  const definition = cloneDefinition(record.definition, record.disks, { uuid, name, directory: paths.clone })
  const running = role === 'clone' && isolated(definition)
  let hook: GuestHook | undefined
  let told: Promise<void> | undefined
  return withUndo(async (undo) => {
    for (const path of [paths.clone, paths.consoleDirectory, paths.tpm])
      undo.push(() => rm(path, { recursive: true, force: true }))
    const [opened, made] = await Promise.allSettled([
      openTemplateState(record, files),
      makeDisks(paths.clone, record, definition).then(() => restoreFirmware(definition, paths, record)),
    ])
    if (opened.status === 'rejected') throw opened.reason
    const state = opened.value
    try {
      if (made.status === 'rejected') throw made.reason
      undo.push(() => hook?.close())
      const machine = await launch(context, {
        definition,
        id: registry.nextId(),
        paused: !running,
        tell: registry.tellFrom(uuid),
        memory: { file: files.memory, share: false },
        details: { template: { id: record.id, role, pending: true } },
        ...(signal ? { signal } : {}),
        incoming: {
          source: state,
          sizeBytes: record.state?.sizeBytes ?? 0,
          withoutMemory: true,
          ...(running ? { runAtOnce: true } : {}),
          async before(machine) {
            hook = await connectListener(context, machine, record.identity)
            // It lies there when the guest begins to run.
            if (hook && running) told = tellIdentity(hook, identityLines({ definition, before }).first)
            told?.catch(() => {})
          },
        },
      })
      undo.push(() => machine.kill('failed'))
      if (running) return { machine, hook, warm: false, told: told ?? Promise.resolve() }
      await setLinks(machine, definition, false)
      return { machine, hook, warm: false }
    } finally {
      await state.close()
    }
  })
}

async function makeDisks(
  directory: string,
  { id, disks }: TemplateRecord,
  { devices }: CompleteDefinition,
): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await Promise.all([
    writeFile(join(directory, cloneMark), `${id}\n`, { mode: 0o600 }),
    ...disks.map((base) => {
      const disk = devices.disks.find(({ alias }) => alias === base.alias)
      return disk && createOverlay(join(directory, overlayName(disk)), base)
    }),
  ])
}

/** Lets it take on its identity and stand still again, so that next to nothing is left to do when it is wanted. */
export async function warmUp(record: TemplateRecord, spare: Spare): Promise<Spare> {
  const { machine, hook } = spare
  if (!hook) return spare
  const { definition } = machine.details
  const { first, later } = identityLines({ definition, before: record.definition })
  await machine.monitor.execute('cont')
  await tellIdentity(hook, [...first, ...later])
  await machine.monitor.execute('stop')
  return { ...spare, warm: true }
}

/**
 * Lets it run as a machine of its own. Resolves when it has said that it knows who it is; `settled` then
 * resolves when it has its clock and addresses too, and its cards are plugged in.
 */
export async function wake(record: TemplateRecord, spare: Spare): Promise<{ settled: Promise<void> }> {
  const { machine, hook, warm, told } = spare
  const { definition } = machine.details
  const whole = identityLines({ definition, before: record.definition })
  const { first, later } = warm ? { first: nameLines(definition), later: [] } : whole
  await (told ?? Promise.all([machine.monitor.execute('cont'), hook && tellIdentity(hook, first)]))
  const settled = settle(spare, later)
  settled.catch(() => {})
  return { settled }
}

async function settle({ machine, hook }: Spare, lines: readonly string[]): Promise<void> {
  const { definition } = machine.details
  try {
    if (hook && lines.length > 0) await tellIdentity(hook, lines)
    if (hook || isolated(definition)) await setLinks(machine, definition, true)
    hook?.post('network')
  } finally {
    hook?.close()
  }
}

/** Whether its cards are in networks of its own, where nobody else can have its address. */
function isolated({ devices }: CompleteDefinition): boolean {
  return devices.interfaces.every(({ type }) => type === 'user')
}
