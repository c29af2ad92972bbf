/**
 * Programs of the administrator's that are run when a machine comes and goes, and may refuse that it comes.
 * Arguments are those that libvirt's hooks get (docs/hooks.md): name, operation, sub-operation, more; the
 * definition is on the standard input as XML.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../../../driver/index.ts'
import { errorNumber, listDirectory, run } from '../../../host/index.ts'
import {
  DomainDefinition,
  formatDefinition,
  parse,
  parseDefinition,
  VisorError,
} from '../../../model/index.ts'

/** `begin`: before it happens, which it can refuse for the first three of libvirt's. `end`: afterwards. */
export type HookOperation =
  | 'prepare'
  | 'start'
  | 'started'
  | 'stopped'
  | 'release'
  | 'migrate'
  | 'restore'
  | 'reconnect'

export interface Hooks {
  /** Runs all programs there are, by name. Fails with `failed` and what it said when one of them refuses. */
  ask(operation: HookOperation, definition: DomainDefinition, more?: string): Promise<void>
  /** As {@link ask}; what a program prints, the definition of this or another machine, is what the next one gets. */
  alter(operation: HookOperation, definition: DomainDefinition): Promise<DomainDefinition>
  /** Runs them too; what goes wrong is only logged. */
  tell(operation: HookOperation, definition: DomainDefinition, more?: string): Promise<void>
}

const timeoutMs = 30_000
const mostOutputBytes = 1024 * 1024
const longestMessage = 500

/** The programs at `path`: itself, or all in that folder; none when there is nothing. */
export function openHooks(path: string | undefined, log: Log): Hooks {
  async function ask(operation: HookOperation, definition: DomainDefinition, more = '-'): Promise<void> {
    const programs = path === undefined ? [] : await findPrograms(path)
    if (programs.length === 0) return
    const step = operation === 'stopped' || operation === 'release' ? 'end' : 'begin'
    const input = formatDefinition(definition, 'xml')
    for (const program of programs) await runOne(program, [definition.name, operation, step, more], input)
  }
  async function alter(operation: HookOperation, definition: DomainDefinition): Promise<DomainDefinition> {
    let altered = definition
    for (const program of path === undefined ? [] : await findPrograms(path)) {
      const input = formatDefinition(altered, 'xml')
      const said = await runOne(program, [definition.name, operation, 'begin', '-'], input)
      if (said.trim() !== '') altered = readAltered(program, said)
    }
    return altered
  }

  return {
    ask,
    alter,
    async tell(operation, definition, more) {
      await ask(operation, definition, more).catch((error: unknown) => {
        const { message } = error instanceof Error ? error : { message: String(error) }
        log.warn({ domain: definition.name, operation, error: message }, 'A hook failed.')
      })
    },
  }
}

function readAltered(program: string, text: string): DomainDefinition {
  try {
    return parse(DomainDefinition, parseDefinition(text, 'xml'))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new VisorError('failed', `The hook '${program}' printed what is no definition: ${why}`, {
      cause,
      remedy: 'Let it print nothing, or the whole definition as XML.',
    })
  }
}

async function findPrograms(path: string): Promise<string[]> {
  const found = await stat(path).catch((error: unknown) => {
    if (errorNumber(error) === 'ENOENT') return undefined
    throw error
  })
  if (!found) return []
  if (!found.isDirectory()) return [path]
  const names = (await listDirectory(path)).filter((name) => /^[\w-]+(\.[\w-]+)*$/u.test(name)).sort()
  const programs: string[] = []
  for (const name of names) {
    const one = await stat(join(path, name))
    if (one.isFile() && (one.mode & 0o111) !== 0) programs.push(join(path, name))
  }
  return programs
}

async function runOne(program: string, args: readonly string[], input: string): Promise<string> {
  await checkTrusted(program)
  const [name = '', operation = ''] = args
  const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' }
  const result = await run(program, args, { input, env, cwd: '/', timeoutMs, maxBytes: mostOutputBytes })
  if (result.code === 0) return result.stdout
  const said = result.stderr.trim().slice(-longestMessage) || `exit code ${result.code}`
  throw new VisorError('failed', `The hook '${program}' refuses to ${operation} domain '${name}': ${said}`, {
    remedy: `See to what it wants, or take it away: it is run because 'hooks' in the configuration of visord says so.`,
    object: { kind: 'domain', name },
  })
}

/** It runs with our rights, so only we or root may have written it. */
async function checkTrusted(program: string): Promise<void> {
  const { uid, mode } = await stat(program)
  const own = uid === 0 || uid === process.getuid?.()
  if (own && (mode & 0o022) === 0) return
  throw new VisorError('denied', `The hook '${program}' is not run: others than its owner may change it.`, {
    remedy: `Make it belong to root and writable for root alone: 'chown root ${program}; chmod 755 ${program}'.`,
  })
}
