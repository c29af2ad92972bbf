import { type Command, Help } from 'commander'
import type { CommandEntry } from './commands.ts'
import { exitCodeMeanings } from './exit-code.ts'
import type { Colours, Output } from './output.ts'
import { padText, textWidth } from './text-width.ts'

/** Gives help its looks; commands made from the program follow it. */
export function styleHelp(program: Command, { colours, columns }: Output): void {
  program.configureHelp({
    helpWidth: Math.min(columns ?? 100, 110),
    displayWidth: textWidth,
    styleTitle: (title) => colours.bold(title),
    styleCommandText: (text) => colours.cyan(text),
    styleSubcommandTerm: (text) => colours.cyan(text),
    styleOptionTerm: (text) => colours.cyan(text),
    styleArgumentTerm: (text) => colours.cyan(text),
    subcommandTerm: (command) => command.name(),
    // An option that can be repeated is none at first, which says nothing.
    optionDescription: (option) => new Help().optionDescription(option).replace(/ ?\(default: \[\]\)$/u, ''),
  })
}

/** Adds examples under the help of a command; each is a command line and what it does. */
export function addExamples(
  command: Command,
  examples: readonly (readonly [line: string, doc: string])[],
): void {
  command.addHelpText('after', () => {
    const { styleTitle = (title: string) => title, styleCommandText = (text: string) => text } =
      command.configureHelp()
    const lines = examples.flatMap(([line, doc]) => [`  # ${doc}`, `  ${styleCommandText(line)}`])
    return `\n${styleTitle('Examples:')}\n${lines.join('\n')}\n\nFlags of every command (--connect, --json, ...): visor help`
  })
}

/** What `visor` alone says. */
export function formatOverview(entries: readonly CommandEntry[], { colours, columns }: Output): string {
  const { bold, cyan, dim } = colours
  const groups = Map.groupBy(
    entries.filter(({ hidden }) => !hidden),
    ({ group }) => group,
  )
  const sections = [...groups].map(([group, members]) => {
    const lines = members.map(({ name, summary }) => `  ${cyan(padText(name, 13))} ${summary}`)
    return `${bold(group)}\n${lines.join('\n')}\n`
  })
  const rule = (columns ?? 80) < 50 ? '' : ' Runs and manages virtual machines and containers.'
  return `${bold('visor')}${rule}

${sections.join('\n')}
${bold('Begin with:')}
  ${cyan('visor doctor')}                          ${dim('what this host can do')}
  ${cyan('visor image build micro')}               ${dim('a small Linux to boot')}
  ${cyan('visor create web --image micro')}        ${dim('a machine of it, started')}
  ${cyan('visor console web')}                     ${dim('its shell; Ctrl-] leaves')}

${dim('More: visor help COMMAND, visor help exit-codes, visor help connect')}
`
}

const connectHelp = `visor talks to a daemon, or opens a hypervisor itself.

  visor list                                    the visord of this user, over its unix socket
  visor -c http://127.0.0.1:8430 --token T list a visord over the network
  visor -c unix:///run/visor/visord.sock list   a visord over this socket
  visor -c qemu:///system list                  QEMU opened directly, without a daemon
  visor -c v86:///session list                  the embedded machine, nothing installed
  visor -c test:///default list                 three machines of memory only, for trying things

VISOR_CONNECT and VISOR_TOKEN stand in for the flags. VISOR_STATE_DIR and VISOR_RUNTIME_DIR
(--state-dir, --runtime-dir) say which daemon of this host is meant.
`

/** A page of help that belongs to no command. */
export function helpTopic(topic: string, colours: Colours): string {
  if (topic === 'connect') return connectHelp
  const lines = exitCodeMeanings.map(
    ([code, meaning]) => `  ${colours.cyan(String(code).padStart(3))}  ${meaning}`,
  )
  return `The exit code of visor says what kind of failure it was.\n\n${lines.join('\n')}\n
With several machines named, it is that of the first that failed.
`
}
