/** What runs in a test guest: a shell on its serial port that knows a few commands. */

/** What the shell can do to its machine. */
export interface ShellMachine {
  readonly name: string
  readonly uuid: string
  uptimeSeconds(): number
  print(text: string): void
  powerOff(): void
  reboot(): void
  crash(): void
}

/** A longer line is cut off. */
const lineLimit = 1024
const prompt = '# '

interface Command {
  readonly doc: string
  run(machine: ShellMachine, rest: string): string
}

const commands: Record<string, Command> = {
  help: { doc: 'lists the commands', run: () => formatHelp() },
  echo: { doc: 'prints its arguments', run: (_machine, rest) => `${rest}\r\n` },
  hostname: { doc: 'prints the name of the machine', run: ({ name }) => `${name}\r\n` },
  uuid: { doc: 'prints the identity of the machine', run: ({ uuid }) => `${uuid}\r\n` },
  uname: { doc: 'prints what runs here', run: () => 'visor-test\r\n' },
  uptime: { doc: 'prints for how long', run: (machine) => `up ${machine.uptimeSeconds().toFixed(1)} s\r\n` },
  seq: { doc: 'counts: seq 5', run: (_machine, rest) => count(rest) },
  poweroff: { doc: 'powers the machine off', run: (machine) => act(machine.powerOff) },
  reboot: { doc: 'reboots it', run: (machine) => act(machine.reboot) },
  crash: { doc: 'crashes it', run: (machine) => act(machine.crash) },
}

function act(action: () => void): string {
  queueMicrotask(action)
  return ''
}

function count(rest: string): string {
  const last = Math.min(Number.parseInt(rest, 10) || 0, 100_000)
  return Array.from({ length: last }, (_, index) => `${index + 1}\r\n`).join('')
}

function formatHelp(): string {
  return Object.entries(commands)
    .map(([name, { doc }]) => `${name.padEnd(10)}${doc}\r\n`)
    .join('')
}

export interface Shell {
  /** Prints the greeting and the prompt. */
  boot(): void
  /** Takes what was typed. */
  type(bytes: Uint8Array): void
}

export function shell(machine: ShellMachine): Shell {
  let line = ''
  // What one write typed is echoed as one piece.
  let echo = ''

  function flush(): void {
    if (echo) machine.print(echo)
    echo = ''
  }

  function enter(): void {
    const [word = '', ...rest] = line.trim().split(/\s+/u)
    line = ''
    const command = Object.hasOwn(commands, word) ? commands[word] : undefined
    const unknown = word ? `sh: ${word}: not found\r\n` : ''
    echo += `\r\n${command?.run(machine, rest.join(' ')) ?? unknown}${prompt}`
    if (echo.length > 4096) flush()
  }

  function key(character: string): void {
    if (character === '\r' || character === '\n') enter()
    else if (character === '\x7f' || character === '\b') erase()
    else if (character === '\x03') giveUp()
    else if (character >= ' ' && line.length < lineLimit) {
      line += character
      echo += character
    }
  }

  function giveUp(): void {
    line = ''
    echo += `^C\r\n${prompt}`
  }

  function erase(): void {
    if (!line) return
    line = line.slice(0, -1)
    echo += '\b \b'
  }

  return {
    boot() {
      line = ''
      machine.print(`\r\nvisor test guest ${machine.name}\r\nType 'help' for the commands.\r\n\r\n${prompt}`)
    },
    type(bytes) {
      for (const character of Buffer.from(bytes).toString('utf8').replaceAll('\r\n', '\r')) key(character)
      flush()
    },
  }
}
