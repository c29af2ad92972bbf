import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import type { Duplex } from 'node:stream'
import type { Workbench } from '../harness.ts'
import { endChild } from '../processes.ts'

/** A live clone by hand: QEMU on the memory of a template, its device state read, and an answer over its channel. */
export interface RawClone {
  /** From the spawn until the guest has answered, and done what these lines tell its hook before. */
  start(lines?: readonly string[]): Promise<void>
  destroy(): Promise<void>
}

export interface RawCloneOptions {
  readonly program: string
  /** With the monitor on descriptor 3, and its state to come from descriptor 4. */
  readonly args: readonly string[]
  readonly state: string
  /** The socket of the channel to the hook in the guest. */
  readonly hook: string
}

export function rawClone(bench: Workbench, { program, args, state, hook }: RawCloneOptions): RawClone {
  let child: ChildProcess | undefined
  bench.defer(async () => {
    if (child) await endChild(child, 'SIGKILL')
  })
  return {
    async start(lines = []) {
      const file = openSync(state, 'r')
      const qemu = spawn(program, args, {
        stdio: ['ignore', 'ignore', 'inherit', 'pipe', file],
        detached: true,
      })
      closeSync(file)
      child = qemu
      const monitor = qemu.stdio[3] as Duplex
      monitor.on('error', () => {})
      const messages = createInterface({ input: monitor })[Symbol.asyncIterator]()
      const next = async (wanted: (message: Record<string, unknown>) => boolean): Promise<void> => {
        while (true) {
          const { done, value } = await messages.next()
          if (done) throw new Error('QEMU ended.')
          if (wanted(JSON.parse(value))) return
        }
      }
      const execute = async (command: string, args?: object) => {
        monitor.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
        await next((message) => 'return' in message)
      }
      await next((message) => 'QMP' in message)
      await execute('qmp_capabilities')
      const channel = connect(hook)
      await once(channel, 'connect')
      const capabilities = ['events', 'x-ignore-shared'].map((capability) => ({ capability, state: true }))
      await execute('migrate-set-capabilities', { capabilities })
      await execute('migrate-incoming', { uri: 'fd:4' })
      await next(({ event, data }) => event === 'MIGRATION' && JSON.stringify(data).includes('completed'))
      await execute('cont')
      channel.write(`${[...lines, 'ping 1'].join('\n')}\n`)
      await once(channel, 'data')
      channel.destroy()
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
