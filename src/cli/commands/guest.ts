import { readFile, writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import type { GuestFilesystem, GuestInterface, GuestUser } from '../../model/index.ts'
import type { Context } from '../context.ts'
import { addExamples } from '../help.ts'
import { printProgram } from '../into-guest/print-program.ts'
import { formatSection, safe } from '../page.ts'
import { readStandardInput } from '../standard-input.ts'
import { formatTable } from '../table.ts'
import { formatAgo, formatBytes, parseDuration, parseSize } from '../units.ts'

export function configure(command: Command, context: Context): void {
  command.description('Talk to the agent in a guest: run programs, read and write files, look inside.')
  const sub = (name: string, description: string) =>
    command.command(name).description(description).argument('<domain>', 'name or uuid')
  looking(sub, context)
  doing(sub, context)
  addExamples(command, [
    ['visor guest info web', 'hostname, system, what the agent can do'],
    ['visor guest exec web -- uname -a', 'its output and exit code are those of the program'],
    ['visor guest copy-in web app.conf /etc/app.conf', 'a file into the guest'],
  ])
}

type Sub = (name: string, description: string) => Command

function looking(sub: Sub, context: Context): void {
  sub('info', 'Show what the agent says of the guest.').action((domain: string) => showInfo(context, domain))
  sub('interfaces', 'List the network interfaces as the guest has them.').action((domain: string) =>
    listInterfaces(context, domain),
  )
  sub('filesystems', 'List the mounted file systems.').action((domain: string) =>
    listFilesystems(context, domain),
  )
  sub('users', 'List who is logged in.').action((domain: string) => listUsers(context, domain))
}

function doing(sub: Sub, context: Context): void {
  const exec = sub('exec', 'Run a program in the guest.')
    .argument('<program>', 'path, or a name in the PATH of the guest')
    .argument('[args...]', 'its arguments; put -- in front of the program when they have dashes')
    .option('-i, --stdin', 'hand on what comes on the standard input')
    .option('-e, --env <pair...>', 'environment: NAME=value')
    .option('-t, --timeout <time>', 'wait for it at most: 90, 5m')
    .action((domain: string, program: string, args: string[], options: ExecFlags) =>
      runInGuest(context, domain, [program, ...args], options),
    )
  addExamples(exec, [['visor guest exec web -- sh -c "df -h; uptime"', 'more than one program']])
  sub('copy-in', 'Copy a file into the guest.')
    .argument('<file>', 'file here; - for the standard input')
    .argument('<path>', 'path in the guest')
    .option('--append', 'at the end of what is there')
    .action(async (domain: string, file: string, path: string, { append }: { append?: true }) => {
      const content = Buffer.from(file === '-' ? await readStandardInput() : await readFile(file))
      await context.connected(({ agent }) =>
        agent.writeFile(domain, { path, content: content.toString('base64'), append: append ?? false }),
      )
      note(context, `${path} written, ${formatBytes(content.length)}`)
    })
  sub('copy-out', 'Copy a file out of the guest.')
    .argument('<path>', 'path in the guest')
    .argument('[file]', 'file here; the standard output without it')
    .option('--max <size>', 'at most so much of it: 1MiB')
    .action((domain: string, path: string, file: string | undefined, { max }: { max?: string }) =>
      copyOut(context, domain, path, file, max),
    )
  sub('freeze', 'Freeze the file systems, so that disks are whole.')
    .option('-t, --timeout <time>', 'thaw by itself after: 30, 5m', '60')
    .action(async (domain: string, { timeout }: { timeout: string }) => {
      const timeoutMs = parseDuration(timeout, 'The timeout')
      const count = await context.connected(({ agent }) => agent.freeze(domain, { timeoutMs }))
      note(context, `${count} file systems of ${domain} are frozen; thaw them soon`)
    })
  sub('thaw', 'Let the file systems go on.').action(async (domain: string) => {
    const count = await context.connected(({ agent }) => agent.thaw(domain))
    note(context, `${count} file systems of ${domain} are thawed`)
  })
  sub('trim', 'Give blocks that are not in use back to the disks.').action(async (domain: string) => {
    await context.connected(({ agent }) => agent.trim(domain, { signal: context.signal }))
    note(context, `${domain} is trimmed`)
  })
  sub('set-time', "Set the guest's clock; to the host's time without a time.")
    .argument('[time]', 'such as 2026-11-23T01:02:03Z')
    .action(async (domain: string, time: string | undefined) => {
      const timeMs = time === undefined ? undefined : Date.parse(time)
      await context.connected(({ agent }) => agent.setTime(domain, timeMs === undefined ? {} : { timeMs }))
      note(context, `the clock of ${domain} is set`)
    })
  sub('set-password', 'Set the password of a user, from the standard input.')
    .argument('<user>', 'name in the guest')
    .option('--crypted', 'it is hashed already')
    .action(async (domain: string, user: string, { crypted }: { crypted?: true }) => {
      const password = (await readStandardInput()).toString('utf8').replace(/\r?\n$/u, '')
      await context.connected(({ agent }) =>
        agent.setPassword(domain, { user, password, crypted: crypted ?? false }),
      )
      note(context, `the password of ${user} is set`)
    })
}

function note({ output }: Context, text: string): void {
  output.note(`${output.noteColours.green('✓')} ${text}`)
}

interface ExecFlags {
  readonly stdin?: true
  readonly env?: string[]
  readonly timeout?: string
}

async function runInGuest(context: Context, domain: string, line: readonly string[], flags: ExecFlags) {
  const [program = '', ...args] = line
  const stdin = flags.stdin ? (await readStandardInput()).toString('base64') : undefined
  const timeoutMs = flags.timeout === undefined ? undefined : parseDuration(flags.timeout, 'The timeout')
  const ended = await context.connected(({ agent }) =>
    agent.exec(domain, {
      program,
      args,
      ...(flags.env && { env: flags.env }),
      ...(stdin !== undefined && { stdin }),
      ...(timeoutMs !== undefined && { timeoutMs }),
      signal: context.signal,
    }),
  )
  printProgram(context, ended)
}

async function copyOut(
  context: Context,
  domain: string,
  path: string,
  file: string | undefined,
  max: string | undefined,
): Promise<void> {
  const maxBytes = max === undefined ? undefined : parseSize(max, 'The size')
  const bytes = await context.connected(({ agent }) =>
    agent.readFile(domain, { path, ...(maxBytes !== undefined && { maxBytes }) }),
  )
  if (file === undefined || file === '-') process.stdout.write(bytes)
  else {
    await writeFile(file, bytes)
    note(context, `${file} written, ${formatBytes(bytes.length)}`)
  }
}

async function showInfo({ connected, output }: Context, domain: string): Promise<void> {
  const info = await connected(({ agent }) => agent.info(domain))
  output.print(info, () =>
    formatSection(output.colours, '', [
      ['hostname', safe(info.hostname)],
      ['system', safe(info.osName)],
      ['kernel', safe(info.kernel)],
      ['clock', info.timeMs === undefined ? undefined : new Date(info.timeMs).toISOString()],
      ['time zone', safe(info.timezone)],
      ['agent', safe(info.agentVersion)],
      ['can do', `${info.commands.length} commands (--json lists them)`],
    ]),
  )
}

async function listInterfaces({ connected, output }: Context, domain: string): Promise<void> {
  const interfaces = await connected(({ agent }) => agent.interfaces(domain))
  output.print(interfaces, () =>
    formatTable<GuestInterface>(
      [
        { title: 'name', value: ({ name }) => safe(name) ?? '' },
        { title: 'mac', value: ({ mac }) => safe(mac) ?? '' },
        {
          title: 'addresses',
          value: ({ addresses }) =>
            addresses.map(({ address, prefix }) => `${safe(address)}/${prefix}`).join(', '),
          shrinkTo: 10,
        },
      ],
      interfaces,
      { width: output.columns, styleTitle: output.colours.dim },
    ),
  )
}

async function listFilesystems({ connected, output }: Context, domain: string): Promise<void> {
  const found = await connected(({ agent }) => agent.filesystems(domain))
  output.print(found, () =>
    formatTable<GuestFilesystem>(
      [
        { title: 'mounted at', value: ({ mountPoint }) => safe(mountPoint) ?? '', shrinkTo: 10 },
        { title: 'type', value: ({ type }) => safe(type) ?? '' },
        { title: 'size', value: ({ totalBytes }) => sizeOf(totalBytes), align: 'right' },
        { title: 'used', value: ({ usedBytes }) => sizeOf(usedBytes), align: 'right' },
        { title: 'device', value: ({ name }) => safe(name) ?? '' },
        { title: 'disks', value: ({ disks }) => disks.join(', ') },
      ],
      found,
      { width: output.columns, styleTitle: output.colours.dim },
    ),
  )
}

const sizeOf = (bytes: number | undefined): string => (bytes === undefined ? '' : formatBytes(bytes))

async function listUsers({ connected, output }: Context, domain: string): Promise<void> {
  const users = await connected(({ agent }) => agent.users(domain))
  output.print(users, () => {
    if (users.length === 0) output.note('Nobody is logged in.')
    return formatTable<GuestUser>(
      [
        { title: 'user', value: ({ name }) => safe(name) ?? '' },
        { title: 'since', value: ({ loginAt }) => formatAgo(loginAt) },
      ],
      users,
      { width: output.columns, styleTitle: output.colours.dim },
    )
  })
}
