import { randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import type { Secrets } from '../../driver/index.ts'
import {
  formatSecretDefinition,
  maxSecretBytes,
  parseSecretDefinition,
  type Secret,
  type SecretDefinition,
  secretUsage,
  secretUsages,
  VisorError,
} from '../../model/index.ts'
import type { Context } from '../context.ts'
import { loadText } from '../documents.ts'
import { addExamples } from '../help.ts'
import { formatSection, safe } from '../page.ts'
import { inFile } from '../report-error.ts'
import { readStandardInput } from '../standard-input.ts'
import { formatTable } from '../table.ts'

const named = 'its uuid, or the name of what it is for'

interface ValueFlags {
  readonly file?: string
  readonly base64?: string
  readonly generate?: true
}

interface CreateFlags extends ValueFlags {
  readonly usage: (typeof secretUsages)[number]
  readonly description?: string
  readonly private?: true
  readonly ephemeral?: true
}

export function configure(command: Command, context: Context): void {
  command.description('Keep passphrases of disks and passwords of servers, encrypted.')
  const sub = (name: string, description: string) => command.command(name).description(description)
  const list = command
    .command('list', { isDefault: true })
    .description('List them, without their values.')
    .action(() => listSecrets(context))
  const create = withValue(
    sub('create', 'Make a secret and give it its value: what comes from standard input.'),
  )
    .argument('[name]', 'what it is for: a volume, or the name that disks and pools call it by')
    .addOption(new Option('--usage <kind>', 'kind of use').choices(secretUsages).default('volume'))
    .option('--description <text>', 'any text about it')
    .option('--private', 'it is only used, and never told again')
    .option('--ephemeral', 'it is never written down: gone when visord ends')
    .action((name: string | undefined, flags: CreateFlags) => createSecret(context, name, flags))
  const define = sub('define', 'Make secrets known from files of XML, YAML or JSON, without values.')
    .argument('<files...>', "files, '-'")
    .action((files: string[]) => defineSecrets(context, files))
  const show = sub('show', 'Show what is said of a secret, not its value.')
    .argument('<secret>', named)
    .option('--xml', "as libvirt's XML")
    .option('--yaml', 'as YAML')
    .action((secret: string, flags: ShowFlags) => showSecret(context, secret, flags))
  const set = withValue(sub('set-value', 'Give a secret a value: what comes from standard input.'))
    .argument('<secret>', named)
    .action((secret: string, flags: ValueFlags) => setValue(context, secret, flags))
  const get = sub('get-value', 'Print the value of a secret that is not private, as it is.')
    .argument('<secret>', named)
    .option('--base64', 'as base64, as virsh does')
    .action((secret: string, { base64 = false }: { base64?: boolean }) => getValue(context, secret, base64))
  const remove = sub('remove', 'Forget secrets and their values. Refused while a volume or pool needs them.')
    .alias('rm')
    .alias('undefine')
    .argument('<secrets...>', named)
    .option('-f, --force', 'also when one is needed: what it unlocks cannot be read then, by nobody')
    .action((secrets: string[], { force = false }: { force?: boolean }) =>
      removeSecrets(context, secrets, force),
    )
  addExamples(command, [['visor secret list', 'what there is, and who needs it']])
  addExamples(list, [['visor secret list', 'what there is, and who needs it']])
  addExamples(create, [
    ['visor secret create db --generate', 'a passphrase that nobody has seen'],
    ['visor secret create ceph-client --usage ceph --file key.bin', 'of a file, every byte of it'],
    ['visor volume create db.qcow2 20GiB --encrypt db', 'a volume that it unlocks'],
  ])
  addExamples(define, [['visor secret define secret.xml', 'what virsh secret-dumpxml printed']])
  addExamples(show, [['visor secret show db --xml', 'what virsh secret-dumpxml prints']])
  addExamples(set, [['visor secret set-value db --file passphrase.txt', 'every byte of the file']])
  addExamples(get, [['visor secret get-value db > passphrase.txt', 'to keep a copy elsewhere']])
  addExamples(remove, [['visor secret remove db', 'refused while a volume needs it']])
}

function withValue(command: Command): Command {
  return command
    .addOption(
      new Option('--file <file>', 'its value is in this file, every byte of it').conflicts([
        'base64',
        'generate',
      ]),
    )
    .addOption(new Option('--base64', 'standard input, or the file, is base64').conflicts('generate'))
    .option('--generate', 'its value is 32 random bytes, as text')
}

async function readValue({ file, base64, generate }: ValueFlags): Promise<string> {
  if (generate) return Buffer.from(randomBytes(32).toString('base64')).toString('base64')
  if (file === undefined && process.stdin.isTTY)
    throw new VisorError('invalid-argument', 'There is no value for the secret.', {
      remedy: 'Send it to standard input, name a file with --file, or have one made with --generate.',
    })
  const bytes = file === undefined ? trimEnd(await readStandardInput()) : await readBytes(file)
  if (bytes.length === 0 || bytes.length > maxSecretBytes * 2)
    throw new VisorError('invalid-argument', `A secret has 1 to ${maxSecretBytes} bytes.`)
  return base64 ? bytes.toString().replaceAll(/\s/gu, '') : bytes.toString('base64')
}

/** Without the newline that `echo` and who types end with. */
const trimEnd = (bytes: Buffer): Buffer =>
  bytes.at(-1) === 0x0a ? bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1) : bytes

async function readBytes(path: string): Promise<Buffer> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw new VisorError('not-found', `The file '${path}' cannot be read.`, { cause })
  })
  try {
    const { size } = await file.stat()
    if (size > maxSecretBytes * 2)
      throw new VisorError(
        'invalid-argument',
        `'${path}' is too large: a secret has at most ${maxSecretBytes} bytes.`,
      )
    return await file.readFile()
  } finally {
    await file.close()
  }
}

async function createSecret(context: Context, name: string | undefined, flags: CreateFlags): Promise<void> {
  const { connected, output, signal } = context
  const base64 = await readValue(flags)
  const usage = name === undefined ? undefined : secretUsage(flags.usage, name)
  const secret = await connected(async ({ secrets }) => {
    const made = await secrets.define({
      ...(usage && { usage }),
      ...(flags.description !== undefined && { description: flags.description }),
      private: flags.private ?? false,
      ephemeral: flags.ephemeral ?? false,
      signal,
    })
    try {
      await secrets.setValue(made.uuid, { base64, signal })
    } catch (error) {
      await secrets.undefine(made.uuid).catch(() => {})
      throw error
    }
    return secrets.get(made.uuid)
  })
  output.print(secret, () => `${secret.uuid}\n`)
  output.note(`${output.noteColours.green('✓')} secret ${safe(secret.name ?? secret.uuid)} is made`)
}

async function defineSecrets(
  { connected, output, signal }: Context,
  files: readonly string[],
): Promise<void> {
  const definitions: SecretDefinition[] = []
  for (const file of files) {
    const { text, format, name } = await loadText(file)
    try {
      definitions.push(parseSecretDefinition(text, format))
    } catch (error) {
      throw inFile(error, name)
    }
  }
  await connected(async ({ secrets }) => {
    for (const definition of definitions) {
      const { uuid, name = uuid, hasValue } = await secrets.define({ ...definition, signal })
      const next = hasValue ? '' : `; give it a value: visor secret set-value ${uuid}`
      output.note(`${output.noteColours.green('✓')} secret ${safe(name)} is defined${next}`)
    }
  })
}

async function setValue(
  { connected, output, signal }: Context,
  secret: string,
  flags: ValueFlags,
): Promise<void> {
  const base64 = await readValue(flags)
  await connected(({ secrets }) => secrets.setValue(secret, { base64, signal }))
  output.note(`${output.noteColours.green('✓')} secret ${safe(secret)} has a new value`)
}

async function getValue({ connected, output }: Context, secret: string, asBase64: boolean): Promise<void> {
  const { base64 } = await connected(({ secrets }) => secrets.getValue(secret))
  if (asBase64) output.print({ base64 }, () => `${base64}\n`)
  else output.print({ base64 }, () => Buffer.from(base64, 'base64').toString())
}

async function removeSecrets(
  { connected, output, signal }: Context,
  names: readonly string[],
  force: boolean,
): Promise<void> {
  await connected(async ({ secrets }) => {
    for (const name of names) {
      await secrets.undefine(name, { force, signal })
      output.note(`${output.noteColours.green('✓')} secret ${safe(name)} is removed`)
    }
  })
}

async function listSecrets({ connected, output }: Context): Promise<void> {
  const found = await connected(({ secrets }: { secrets: Secrets }) => secrets.list())
  const { colours, columns } = output
  output.print(found, () => {
    if (output.quiet) return found.map(({ uuid }) => `${uuid}\n`).join('')
    return formatTable<Secret>(
      [
        {
          title: 'for',
          value: ({ name, uuid }) => name ?? uuid,
          style: (text) => colours.bold(text),
          shrinkTo: 12,
        },
        { title: 'kind', value: ({ usage }) => usage },
        { title: 'value', value: valueWord },
        { title: 'needed by', value: ({ usedBy }) => usedBy.join(' '), shrinkTo: 10 },
        { title: 'uuid', value: ({ uuid }) => uuid, style: (text) => colours.dim(text) },
      ],
      found,
      { width: columns, styleTitle: colours.dim },
    )
  })
}

const valueWord = ({ hasValue, private: isPrivate, ephemeral }: Secret): string =>
  hasValue ? (isPrivate ? 'private' : ephemeral ? 'ephemeral' : 'kept') : 'none'

interface ShowFlags {
  readonly xml?: true
  readonly yaml?: true
}

async function showSecret({ connected, output }: Context, key: string, flags: ShowFlags): Promise<void> {
  const { secret, definition } = await connected(async ({ secrets }) => ({
    secret: await secrets.get(key),
    definition: await secrets.describe(key),
  }))
  if (flags.xml || flags.yaml) {
    output.print(definition, () => formatSecretDefinition(definition, flags.xml ? 'xml' : 'yaml'))
    return
  }
  const { colours } = output
  output.print(secret, () =>
    [
      `${colours.bold(safe(secret.name ?? secret.uuid) ?? '')}\n`,
      formatSection(colours, '', [
        ['kind', secret.usage],
        ['description', secret.description === undefined ? '' : safe(secret.description)],
        ['value', valueWord(secret)],
        ['needed by', secret.usedBy.map((one) => safe(one)).join(', ')],
        ['uuid', secret.uuid],
      ]),
    ].join(''),
  )
}
