import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Duplex } from 'node:stream'
import type { Workbench } from '../harness.ts'
import { endChild } from '../processes.ts'

/** QEMU with nothing around it: the limit of what anything that runs QEMU can reach. */
export interface RawQemu {
  /** From the spawn until `cont` is answered. */
  start(): Promise<void>
  /** Resolves when the command is answered; fails when it is refused. */
  execute(command: string, args: object): Promise<void>
  /** Kill, and the process is reaped. */
  destroy(): Promise<void>
}

/** `args` have a monitor on descriptor 3 and leave the processors stopped. */
export function rawQemu(bench: Workbench, program: string, args: readonly string[]): RawQemu {
  let child: ChildProcess | undefined
  let tell: RawQemu['execute'] | undefined
  bench.defer(async () => {
    if (child) await endChild(child, 'SIGKILL')
  })
  return {
    async start() {
      const qemu = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], detached: true })
      child = qemu
      const monitor = qemu.stdio[3] as Duplex
      monitor.on('error', () => {})
      const said: Buffer[] = []
      qemu.stderr?.on('data', (chunk: Buffer) => said.push(chunk))
      const lines = createInterface({ input: monitor })[Symbol.asyncIterator]()
      const next = async (wanted: string): Promise<void> => {
        while (true) {
          const { done, value } = await lines.next()
          if (done) throw new Error(`QEMU ended: ${Buffer.concat(said).toString().trim()}`)
          const answer = JSON.parse(value)
          if (Object.hasOwn(answer, wanted)) return
          if (Object.hasOwn(answer, 'error')) throw new Error(`QEMU refused: ${answer.error.desc}`)
        }
      }
      await next('QMP')
      monitor.write('{"execute":"qmp_capabilities"}\n')
      await next('return')
      monitor.write('{"execute":"cont"}\n')
      await next('return')
      tell = (command, args) => {
        monitor.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
        return next('return')
      }
    },
    async execute(command, args) {
      if (!tell) throw new Error('QEMU does not run.')
      await tell(command, args)
    },
    async destroy() {
      if (!child) return
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
      child = undefined
    },
  }
}
