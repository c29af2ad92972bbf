import type { Command, Option } from 'commander'
import type { CompleteConnection } from '../driver/index.ts'
import { expandAlias, findCommand } from './aliases.ts'
import { commands } from './commands.ts'
import { type Context, createContext, type GlobalOptions } from './context.ts'
import { stateWord } from './domain-words.ts'
import { openOutput } from './output.ts'
import { addCommands, createProgram } from './program.ts'
import { listVolumes, volumeName } from './volumes.ts'

/** A word that fits, and what it is. */
export interface Suggestion {
  readonly value: string
  readonly doc: string
}

export interface Suggestions {
  readonly words: readonly Suggestion[]
  /** File names fit too. */
  readonly files: boolean
}

const nothing: Suggestions = { words: [], files: false }
/** A shell waits for this with the user's cursor. */
const patienceMs = 1_500

/** What may stand in place of the last of `words`, which is as far as the user has typed it. */
export async function suggestWords(given: readonly string[]): Promise<Suggestions> {
  const current = given.at(-1) ?? ''
  const before = expandAlias(given.slice(0, -1))
  if (before[findCommand(before)] === 'help')
    return matching({ words: commandWords(), files: false }, current)
  const { program, context } = await loadProgram(before)
  const { command, rest, pending } = walk(program, before)
  return matching(await suggest(command, pending, rest, context, current), current)
}

function matching({ words, files }: Suggestions, current: string): Suggestions {
  return { words: words.filter(({ value }) => value.startsWith(current)), files }
}

async function suggest(
  command: Command,
  pending: Option | undefined,
  rest: readonly string[],
  context: Context,
  current: string,
): Promise<Suggestions> {
  if (pending) return suggestValue(pending, context)
  if (current.startsWith('-')) return { words: suggestOptions(command), files: false }
  const subcommands = command.createHelp().visibleCommands(command)
  if (subcommands.length > 0 && rest.length === 0)
    return {
      words: subcommands.map((one) => ({ value: one.name(), doc: one.summary() || one.description() })),
      files: false,
    }
  return suggestArgument(command, rest, context)
}

async function loadProgram(before: readonly string[]): Promise<{ program: Command; context: Context }> {
  const program = createProgram(openOutput({ quiet: true, color: false }))
  const signal = AbortSignal.timeout(patienceMs)
  const context = createContext(
    () => program.opts<GlobalOptions>(),
    signal,
    () => {},
  )
  const wanted = before[findCommand(before)]
  await addCommands(program, context, ({ name }) => name === wanted)
  return { program, context }
}

/** Follows the words to the innermost command: its words that are no flags, and a flag that waits for its value. */
function walk(program: Command, words: readonly string[]) {
  let command = program
  let rest: string[] = []
  let pending: Option | undefined
  for (const word of words) {
    const option = findOption(command, program, word)
    if (pending) {
      if (program.options.includes(pending)) program.setOptionValue(pending.attributeName(), word)
      pending = pending.variadic && !word.startsWith('-') ? pending : undefined
    } else if (option) pending = option.required && !word.includes('=') ? option : undefined
    else if (!word.startsWith('-')) {
      const next =
        rest.length === 0
          ? command.commands.find((one) => one.name() === word || one.aliases().includes(word))
          : undefined
      if (next) command = next
      else rest = [...rest, word]
    }
  }
  // After one value of several, another word may be anything.
  if (pending?.variadic && !words.at(-1)?.startsWith('-')) pending = undefined
  return { command, rest, pending }
}

function findOption(command: Command, program: Command, word: string): Option | undefined {
  const name = word.split('=', 1)[0]
  return [...command.options, ...program.options].find(({ long, short }) => long === name || short === name)
}

function suggestOptions(command: Command): Suggestion[] {
  const help = command.createHelp()
  const all = [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)]
  const seen = new Map(all.map((option) => [option.long ?? option.short ?? '', option.description]))
  return [...seen].map(([value, doc]) => ({ value, doc }))
}

async function suggestValue(option: Option, context: Context): Promise<Suggestions> {
  if (option.argChoices) return listed(option.argChoices)
  const { long } = option
  if (long === '--connect')
    return listed([
      'qemu:///system',
      'v86:///session',
      'test:///default',
      'http://127.0.0.1:8430',
      'unix:///',
    ])
  if (long === '--image') return named('image', context)
  if (long === '--driver') return listed(['qemu', 'v86', 'test'])
  const isFile = /<(?:file|dir|disk)/u.test(option.flags)
  return { words: [], files: isFile }
}

/** By the name of the argument: domains, images and jobs are asked for, files are the shell's. */
async function suggestArgument(
  command: Command,
  rest: readonly string[],
  context: Context,
): Promise<Suggestions> {
  const expected = command.registeredArguments
  const argument = expected[rest.length] ?? (expected.at(-1)?.variadic ? expected.at(-1) : undefined)
  if (!argument) return nothing
  if (argument.argChoices) return listed(argument.argChoices)
  const noun = /^(domain|image|volume|pool|secret|schedule|network|template|job|command)s?$/u.exec(
    argument.name(),
  )?.[1]
  if (noun === 'command') return { words: commandWords(), files: false }
  if (noun === undefined) return { words: [], files: /^files?$/u.test(argument.name()) }
  const found = await named(noun, context)
  return { ...found, words: found.words.filter(({ value }) => !rest.includes(value)) }
}

function commandWords(): Suggestion[] {
  return commands.filter(({ hidden }) => !hidden).map(({ name, summary }) => ({ value: name, doc: summary }))
}

function listed(values: readonly string[]): Suggestions {
  return { words: values.map((value) => ({ value, doc: '' })), files: false }
}

const readers: Record<string, (connection: CompleteConnection) => Promise<Suggestion[]>> = {
  domain: async ({ domains }) =>
    (await domains.list()).map((domain) => ({ value: domain.name, doc: stateWord(domain) })),
  network: async ({ networks }) =>
    (await networks.list()).map(({ name, mode }) => ({ value: name, doc: mode })),
  image: async ({ images }) =>
    [
      { value: 'micro', doc: 'a small Linux' },
      ...(await images.list().catch(() => [])).map(({ name, arch }) => ({ value: name, doc: arch })),
    ].filter(({ value }, index, all) => all.findLastIndex((other) => other.value === value) === index),
  volume: async (connection) =>
    (await listVolumes(connection)).map((volume) => ({ value: volumeName(volume), doc: volume.path })),
  secret: async ({ secrets }) =>
    (await secrets.list()).map(({ uuid, name = uuid, usage }) => ({ value: name, doc: usage })),
  schedule: async ({ schedules }) =>
    (await schedules.list()).map(({ name, definition }) => ({ value: name, doc: definition.cron })),
  pool: async ({ pools }) => (await pools.list()).map(({ name, type }) => ({ value: name, doc: type })),
  template: async ({ templates }) =>
    (await templates.list()).map(({ name, domain }) => ({ value: name, doc: `of ${domain}` })),
  job: async ({ jobs }) =>
    (await jobs.list())
      .filter(({ endedAt }) => endedAt === undefined)
      .map(({ id, operation }) => ({ value: id, doc: operation })),
}

/** Names there are; none when nobody answers in time, for a shell shows no errors. */
async function named(noun: string, context: Context): Promise<Suggestions> {
  const late = new Promise<Suggestion[]>((resolve) => setTimeout(() => resolve([]), patienceMs).unref())
  const asked = context.connected(async (connection) => (await readers[noun]?.(connection)) ?? [])
  return { words: await Promise.race([asked.catch(() => []), late]), files: false }
}
